package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/applied"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/spec"
)

// Label and its value on every object that capiam keeps, apart from the
// release's.
const (
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedBy      = "capiam"
)

// API of the objects of the CRD backend.
const (
	IdentityMappingAPIVersion = "iamauthenticator.k8s.aws/v1alpha1"
	IdentityMappingKind       = "IAMIdentityMapping"
)

// InAWSAuth tells whether a spec's mappings are kept in the ConfigMap aws-auth,
// which holds every kind of entry. Otherwise they are IAMIdentityMappings. They
// are never in both, so that whoever removes one has removed it.
func InAWSAuth(s *spec.Spec) bool {
	return slices.Contains(s.IAM.Spec.BackendMode, v1alpha1.BackendEKSConfigMap)
}

// InCRD tells whether a spec's mappings are IAMIdentityMappings.
func InCRD(s *spec.Spec) bool {
	return !InAWSAuth(s) && slices.Contains(s.IAM.Spec.BackendMode, v1alpha1.BackendCRD)
}

// Mappings are a spec's mappings as its authenticator has to be given them:
// aws-iam-authenticator finds no role whose ARN has a path, as logins show
// none.
func Mappings(s *spec.Spec) mapping.Mappings {
	m := s.Mappings()
	if s.IAM.Spec.Server.Implementation != v1alpha1.ImplementationAWSIAMAuthenticator {
		return m
	}
	for i, e := range m.Roles {
		if arn, err := iam.ParseARN(e.ARN); err == nil {
			m.Roles[i].ARN = arn.StripRolePath().String()
		}
	}
	return m
}

// needsEC2 tells whether a mapping holds the name of an EC2 instance.
func needsEC2(m mapping.Mappings) bool {
	return slices.ContainsFunc(slices.Concat(m.Roles, m.Users), func(e mapping.Entry) bool {
		return e.Uses(mapping.VarEC2PrivateDNSName)
	})
}

func mappingObjects(s *spec.Spec) ([]*unstructured.Unstructured, error) {
	switch {
	case InAWSAuth(s):
		u, err := AWSAuth(Mappings(s))
		if err != nil {
			return nil, err
		}
		return []*unstructured.Unstructured{u}, nil
	case InCRD(s):
		return IdentityMappings(Mappings(s))
	}
	return nil, nil
}

// AWSAuth is the ConfigMap aws-auth of a cluster in which nobody else has
// written to it, with the note of what was applied.
func AWSAuth(m mapping.Mappings) (*unstructured.Unstructured, error) {
	note, err := applied.Encode(m)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("v1")
	u.SetKind("ConfigMap")
	u.SetNamespace(Namespace)
	u.SetName(AWSAuthName)
	u.SetAnnotations(map[string]string{applied.Annotation: note})
	if err := unstructured.SetNestedStringMap(u.Object, mapping.Encode(m), "data"); err != nil {
		return nil, fmt.Errorf("render %s/%s: %w", Namespace, AWSAuthName, err)
	}
	return u, nil
}

// IdentityMappings are the objects of the CRD backend, sorted by name. Neither
// SSO roles nor accounts can be said in one, which is an error.
func IdentityMappings(m mapping.Mappings) ([]*unstructured.Unstructured, error) {
	if len(m.Accounts) > 0 {
		return nil, fmt.Errorf("mapAccounts cannot be IAMIdentityMappings: add the backend %s", v1alpha1.BackendEKSConfigMap)
	}
	var objects []*unstructured.Unstructured
	for _, e := range slices.Concat(m.Roles, m.Users) {
		if e.SSO != nil {
			return nil, fmt.Errorf("the SSO role for permission set %s cannot be an IAMIdentityMapping: add the backend %s",
				e.SSO.PermissionSetName, v1alpha1.BackendEKSConfigMap)
		}
		arn, err := iam.ParseARN(e.ARN)
		if err != nil {
			return nil, fmt.Errorf("IAMIdentityMapping for %q: %w", e.ARN, err)
		}
		objects = append(objects, identityMapping(arn, e))
	}
	slices.SortFunc(objects, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return objects, nil
}

func identityMapping(arn iam.ARN, e mapping.Entry) *unstructured.Unstructured {
	body := map[string]any{
		// The path is left out as GetCallerIdentity leaves it out, so that
		// aws-iam-authenticator finds the entry too.
		"arn":      arn.StripRolePath().String(),
		"username": e.Username,
	}
	if len(e.Groups) > 0 {
		groups := make([]any, len(e.Groups))
		for i, g := range e.Groups {
			groups[i] = g
		}
		body["groups"] = groups
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": body}}
	u.SetAPIVersion(IdentityMappingAPIVersion)
	u.SetKind(IdentityMappingKind)
	u.SetName(identityMappingName(arn))
	u.SetLabels(map[string]string{ManagedByLabel: ManagedBy})
	return u
}

// identityMappingName is the same for every spelling of a principal, so that
// an edit changes its object instead of making another: a part to read, and a
// hash to tell equal ones apart.
func identityMappingName(arn iam.ARN) string {
	key := arn.Key().String()
	sum := sha256.Sum256([]byte(key))
	slug := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		default:
			return '-'
		}
	}, strings.ToLower(arn.Kind.String()+"-"+arn.Name))
	const most = 48
	if len(slug) > most {
		slug = slug[:most]
	}
	return strings.Trim(slug, "-") + "-" + hex.EncodeToString(sum[:4])
}
