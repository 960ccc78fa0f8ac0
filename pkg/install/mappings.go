package install

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capiam/capiam/pkg/applied"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/render"
)

// Mapping is one entry of a cluster's table as it is now.
type Mapping struct {
	// Section is mapRoles, mapUsers or mapAccounts.
	Section string `json:"section"`
	// Principal is the ARN, the permission set as "ACCOUNT/NAME", or the
	// account.
	Principal string   `json:"principal"`
	Username  string   `json:"username,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	// Managed is true if capiam applied the entry.
	Managed bool `json:"managed"`
}

// Mappings returns who may log in: the entries of every backend that the API
// server keeps, in the order of the modes.
func (i *Installer) Mappings(ctx context.Context, modes []string) ([]Mapping, error) {
	var all []Mapping
	for _, mode := range modes {
		var entries []Mapping
		var err error
		switch mode {
		case mapping.BackendEKSConfigMap:
			entries, err = i.awsAuthMappings(ctx)
		case mapping.BackendCRD:
			entries, err = i.customMappings(ctx)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	return all, nil
}

func (i *Installer) awsAuthMappings(ctx context.Context) ([]Mapping, error) {
	live, err := i.kube.CoreV1().ConfigMaps(render.Namespace).Get(ctx, render.AWSAuthName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", awsAuthName, err)
	}
	table, _ := mapping.Parse(live.Data)
	now := table.Mappings()
	ours, err := applied.Decode(live.Annotations[applied.Annotation], now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", awsAuthName, err)
	}
	var all []Mapping
	add := func(section string, entries, managed []mapping.Entry) {
		principals := make(map[string]bool, len(managed))
		for _, e := range managed {
			principals[toMapping(section, e).Principal] = true
		}
		for _, e := range entries {
			m := toMapping(section, e)
			m.Managed = principals[m.Principal]
			all = append(all, m)
		}
	}
	add(mapping.MapRoles, now.Roles, ours.Roles)
	add(mapping.MapUsers, now.Users, ours.Users)
	for _, account := range now.Accounts {
		all = append(all, Mapping{Section: mapping.MapAccounts, Principal: account, Managed: slices.Contains(ours.Accounts, account)})
	}
	return all, nil
}

func (i *Installer) customMappings(ctx context.Context) ([]Mapping, error) {
	list, err := i.dynamic.Resource(identityMappings).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list %ss: %w", render.IdentityMappingKind, err)
	}
	all := make([]Mapping, 0, len(list.Items))
	for n := range list.Items {
		u := &list.Items[n]
		e := entry(u)
		section := mapping.MapRoles
		if arn, err := iam.ParseARNAnyCase(e.ARN); err == nil && arn.Kind == iam.KindUser {
			section = mapping.MapUsers
		}
		m := toMapping(section, e)
		m.Managed = u.GetLabels()[render.ManagedByLabel] == render.ManagedBy
		all = append(all, m)
	}
	return all, nil
}

func toMapping(section string, e mapping.Entry) Mapping {
	m := Mapping{Section: section, Principal: strings.TrimSpace(e.ARN), Username: e.Username, Groups: e.Groups}
	if e.SSO != nil {
		m.Principal = e.SSO.AccountID + "/" + e.SSO.PermissionSetName
	}
	return m
}
