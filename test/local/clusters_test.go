package local_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/capiam/capiam/pkg/install"
	"github.com/capiam/capiam/pkg/workflow"
)

// chinaSpec is a cluster of another partition that keeps its mappings in
// custom resources, and whose users have the AWS authenticator.
const chinaSpec = `apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Cluster
metadata:
  name: china
spec:
  datacenterRef: {kind: LocalDatacenterConfig, name: china}
  identityProviderRefs: [{kind: AWSIamConfig, name: china}]
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: LocalDatacenterConfig
metadata:
  name: china
spec:
  groupBindings:
    - {group: ops, clusterRole: cluster-admin}
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: AWSIamConfig
metadata:
  name: china
spec:
  awsRegion: cn-north-1
  partition: aws-cn
  backendMode: [CRD]
  clusterID: china
  client:
    command: aws-iam-authenticator
  mapRoles:
    - roleARN: arn:aws-cn:iam::111122223333:role/Ops
      username: "ops:{{SessionName}}"
      groups: [ops]
  mapUsers:
    - userARN: arn:aws-cn:iam::111122223333:user/guest
      username: guest
`

var identityMappings = schema.GroupVersionResource{
	Group: "iamauthenticator.k8s.aws", Version: "v1alpha1", Resource: "iamidentitymappings",
}

// TestTwoClusters runs two clusters side by side: one with everything a spec can
// say, and one of another partition and backend.
func TestTwoClusters(t *testing.T) {
	t.Parallel()
	m := newMachine(t, 2)
	full, china := m.cluster("local-full"), m.cluster("china")
	port := freePort(t)
	fullText := replace(t, example(t, "local-full.yaml"), "apiServerPort: 16443", fmt.Sprintf("apiServerPort: %d", port))
	fullSpec, chinaFile := m.write("full.yaml", fullText), m.write("china.yaml", chinaSpec)

	m.step("create both", func(t *testing.T) {
		var both sync.WaitGroup
		results := make([]result, 2)
		for i, spec := range []string{fullSpec, chinaFile} {
			both.Go(func() { results[i] = m.run(nil, "capiam", "create", "cluster", "-f", spec, "-o", "json") })
		}
		both.Wait()
		var made [2]workflow.CreateResult
		for i, r := range results {
			if r.code != 0 {
				t.Fatal(r)
			}
			r.decode(t, &made[i])
		}
		wantLogins(t, made[0].Logins, bothKinds(
			"Admin %s admin system:masters",
			"Emergency %s emergency system:masters",
			"Deployer %s deployer:444455556666 team:web",
			"PlatformEngineer %s platform-engineer team:platform",
			"pipeline %s pipeline team:web",
			"capiam-example %s arn:aws:iam::123456789012:role/capiam-example",
			"stranger %s refused")...)
		// A JWT does not say which session it is for, so Ops needs the other
		// kind.
		wantLogins(t, made[1].Logins,
			"Ops JWT refused", "Ops presigned ops:capiam ops",
			"guest JWT guest", "guest presigned guest",
			"stranger JWT refused", "stranger presigned refused")
		if got := full.record().Ports.APIServer; got != port {
			t.Errorf("the API server has port %d, not %d", got, port)
		}
	})
	m.step("log in to both", func(*testing.T) {
		full.wantUser(full.users(), "Emergency", "emergency", "system:masters")
		full.wantUser(full.users(), "PlatformEngineer", "platform-engineer", "team:platform")
		full.wantUser(full.users(), "capiam-example", "arn:aws:iam::123456789012:role/capiam-example")
		full.wantUnauthorized(full.users(), "stranger")
		full.wantEditor(full.users(), "Deployer")
		china.wantUser(china.users(), "Ops", "ops:capiam", "ops")
		china.wantPods(china.users(), "Ops")
		china.wantForbidden(china.users(), "guest")
		china.wantUnauthorized(china.users(), "stranger")
		// A token is for one cluster.
		wrong := china.withClient("wrong", "client.authentication.k8s.io/v1", filepath.Join(m.bin, "capiam"), "token", "-i", "local-full")
		china.wantUnauthorized(wrong, "Ops")
	})
	m.step("list both", func(t *testing.T) {
		var list struct{ Items []workflow.Summary }
		m.capiam("get", "clusters", "-o", "json").decode(t, &list)
		if len(list.Items) != 2 || list.Items[0].Name != "china" || list.Items[0].Status != workflow.StatusReady || list.Items[1].Status != workflow.StatusReady {
			t.Errorf("clusters %+v", list.Items)
		}
	})
	m.step("upgrade accounts and permission sets", func(t *testing.T) {
		text := replace(t, fullText, `    - "123456789012"`, `    - "999988887777"`)
		text = replace(t, text, "permissionSetName: PlatformEngineer", "permissionSetName: SiteReliability")
		changed := full.upgrade(m.write("full.yaml", text))
		wantLogins(t, changed.Logins, bothKinds(
			"SiteReliability %s platform-engineer team:platform",
			"capiam-example %s arn:aws:iam::999988887777:role/capiam-example",
			"removed-AWSReservedSSO_PlatformEngineer_0123456789abcdef %s refused",
			"removed-account-123456789012 %s refused")...)
		full.wantUser(full.users(), "SiteReliability", "platform-engineer", "team:platform")
	})
	m.step("upgrade custom resources", func(t *testing.T) { testIdentityMappings(t, china) })
	m.step("dry run of everything rendered", func(t *testing.T) { testDryRun(t, china) })
	m.step("no secrets", func(t *testing.T) {
		full.wantNoSecrets(t, full.token("Admin"), full.token("Admin", "--jwt"))
		china.wantNoSecrets(t, china.token("Ops"))
		full.wantPrivate(t)
		china.wantPrivate(t)
	})
	m.step("delete one, then the other", func(t *testing.T) {
		m.capiam("delete", "cluster", "local-full")
		full.gone()
		china.wantUser(china.users(), "Ops", "ops:capiam", "ops")
		m.capiam("delete", "cluster", "china")
		china.gone()
	})
}

// bothKinds fills both kinds of token in.
func bothKinds(lines ...string) []string {
	var all []string
	for _, line := range lines {
		all = append(all, fmt.Sprintf(line, "JWT"), fmt.Sprintf(line, "presigned"))
	}
	return all
}

// testIdentityMappings changes who may log in where custom resources say it.
func testIdentityMappings(t *testing.T, c *cluster) {
	client, err := dynamic.NewForConfig(c.config())
	if err != nil {
		t.Fatal(err)
	}
	mappings := client.Resource(identityMappings)
	_, err = mappings.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "iamauthenticator.k8s.aws/v1alpha1", "kind": "IAMIdentityMapping",
		"metadata": map[string]any{"name": "theirs"},
		"spec":     map[string]any{"arn": "arn:aws-cn:iam::444455556666:role/Theirs", "username": "theirs", "groups": []any{}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	spec := c.m.write("china.yaml", replace(t, chinaSpec, "user/guest\n      username: guest", "user/visitor\n      username: visitor"))
	changed := c.upgrade(spec)
	wantLogins(t, changed.Logins,
		"visitor JWT visitor", "visitor presigned visitor",
		"removed-guest JWT refused", "removed-guest presigned refused")
	list, err := mappings.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for _, u := range list.Items {
		name, _, _ := unstructured.NestedString(u.Object, "spec", "username")
		users = append(users, name)
	}
	if got := strings.Join(users, " "); strings.Contains(got, "guest") || !strings.Contains(got, "visitor") || !strings.Contains(got, "theirs") {
		t.Errorf("mapped are %s", got)
	}
	c.wantUser(c.users(), "visitor", "visitor")
	before := c.all()
	if again := c.upgrade(spec); again.Changed {
		t.Errorf("changed again: %+v", again)
	}
	wantSame(t, "a second upgrade", before, c.all())
}

// partitionRegions has a region of every partition.
var partitionRegions = map[string]string{
	"aws": "us-west-2", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1",
	"aws-iso": "us-iso-east-1", "aws-iso-b": "us-isob-east-1", "aws-iso-e": "eu-isoe-west-1",
	"aws-iso-f": "us-isof-south-1", "aws-eusc": "eusc-de-east-1",
}

// testDryRun asks the API server about every object of every backend mode and
// partition.
func testDryRun(t *testing.T, c *cluster) {
	installer, err := install.New(c.config(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	specs := map[string]string{}
	for _, modes := range []string{"EKSConfigMap", "CRD", "EKSConfigMap, CRD", "CRD, EKSConfigMap", "MountedFile, CRD", "EKSConfigMap, DynamicFile"} {
		specs[modes] = rendered("aws", modes)
	}
	for partition := range partitionRegions {
		specs[partition] = rendered(partition, "EKSConfigMap, CRD")
	}
	// Two at a time: whoever renders waits for the API server and back.
	var work sync.WaitGroup
	limit := make(chan struct{}, 2)
	n := 0
	for name, text := range specs {
		n++
		spec := c.m.write(fmt.Sprintf("rendered-%d.yaml", n), text)
		limit <- struct{}{}
		work.Go(func() {
			defer func() { <-limit }()
			r := c.m.quiet("generate", "manifests", "-f", spec)
			if r.code != 0 {
				t.Errorf("%s: %s", name, r.stderr)
				return
			}
			objects, err := decodeObjects(r.stdout)
			if err != nil || len(objects) < 5 {
				t.Errorf("%s: %d objects, %v", name, len(objects), err)
				return
			}
			for _, err := range installer.DryRun(context.Background(), objects) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	work.Wait()
}

func decodeObjects(stream string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, document := range strings.Split(stream, "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := utilyaml.Unmarshal([]byte(document), &u.Object); err != nil {
			return nil, err
		}
		if len(u.Object) > 0 {
			objects = append(objects, u)
		}
	}
	return objects, nil
}

// rendered is a spec with mappings of every kind.
func rendered(partition, modes string) string {
	return strings.NewReplacer("PARTITION", partition, "REGION", partitionRegions[partition], "MODES", modes).
		Replace(`apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Cluster
metadata:
  name: rendered
spec:
  datacenterRef: {kind: LocalDatacenterConfig, name: rendered}
  identityProviderRefs: [{kind: AWSIamConfig, name: rendered}]
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: LocalDatacenterConfig
metadata:
  name: rendered
---
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: AWSIamConfig
metadata:
  name: rendered
spec:
  awsRegion: REGION
  partition: PARTITION
  backendMode: [MODES]
  clusterID: rendered
  mapRoles:
    - roleARN: arn:PARTITION:iam::111122223333:role/Admin
      username: "admin:{{AccountID}}"
      groups: [system:masters]
  mapUsers:
    - userARN: arn:PARTITION:iam::111122223333:user/path/user
      username: user
`)
}
