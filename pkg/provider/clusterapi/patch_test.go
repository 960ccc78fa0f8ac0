package clusterapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	controlplanev1beta1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta1" //nolint:staticcheck // what users still have
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	sigsyaml "sigs.k8s.io/yaml"
)

const kcp = "apiVersion: controlplane.cluster.x-k8s.io/%s\nkind: KubeadmControlPlane\nmetadata: {name: cp, namespace: metal}\nspec:\n  kubeadmConfigSpec:\n%s"

func kcpWith(t testing.TB, version, text string) *unstructured.Unstructured {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	return object(t, fmt.Sprintf(kcp, version, b.String()))
}

// Parts of what Enable sets, for the tables below.
const (
	flagBeta1 = `clusterConfiguration:
  apiServer:
    extraArgs:
      authentication-token-webhook-config-file: /etc/kubernetes/aws-iam-authenticator/kubeconfig.yaml
`
	flagBeta2 = `clusterConfiguration:
  apiServer:
    extraArgs:
    - name: authentication-token-webhook-config-file
      value: /etc/kubernetes/aws-iam-authenticator/kubeconfig.yaml
`
	volume = `    extraVolumes:
    - name: authconfig
      hostPath: /var/lib/kubeadm/aws-iam-authenticator
      mountPath: /etc/kubernetes/aws-iam-authenticator
`
	file = `files:
- path: /var/lib/kubeadm/aws-iam-authenticator/kubeconfig.yaml
  content: |
    {clusters: [{name: a, cluster: {server: "https://localhost:21362/authenticate", certificate-authority-data: dGhlIENB}}],
     contexts: [{name: c, context: {cluster: a}}], current-context: c}
`
)

// TestInspect says how objects are set up. What is wrong has a place and a
// remedy.
func TestInspect(t *testing.T) {
	t.Parallel()
	const field = "KubeadmControlPlane/cp: spec.kubeadmConfigSpec."
	for _, tt := range []struct {
		name, version, text string
		want                Enablement
		err                 string
	}{
		{"nothing", "v1beta2", "", NotEnabled, ""},
		{"other settings", "v1beta1", "clusterConfiguration: {apiServer: {extraArgs: {v: '4'}}}\n", NotEnabled, ""},
		{"the flag alone, v1beta1", "v1beta1", flagBeta1, NotEnabled, ""},
		{"the flag alone, v1beta2", "v1beta2", flagBeta2, NotEnabled, ""},
		{"no file", "v1beta2", flagBeta2 + volume, NotEnabled, ""},
		{"no volume", "v1beta2", flagBeta2 + file, NotEnabled, ""},
		{"whole, written otherwise", "v1beta2", flagBeta2 + volume + file, Enabled, ""},
		{"whole, v1beta1", "v1beta1", flagBeta1 + volume + file, Enabled, ""},
		{"another CA", "v1beta2", flagBeta2 + volume + strings.Replace(file, "dGhlIENB", "b3RoZXI=", 1), EnabledOtherwise, ""},
		{"another port", "v1beta2", flagBeta2 + volume + strings.Replace(file, "21362", "21363", 1), EnabledOtherwise, ""},
		{"a CA from a file that is not there", "v1beta2", flagBeta2 + volume + strings.Replace(file, "certificate-authority-data: dGhlIENB", "certificate-authority: /var/aws-iam-authenticator/cert.pem", 1), EnabledOtherwise, ""},
		{"the version of the webhook", "v1beta1", flagBeta1 + "      authentication-token-webhook-version: v1\n" + volume + file, Enabled, ""},
		{"structured authentication", "v1beta1", flagBeta1 + "      authentication-config: /etc/kubernetes/authn.yaml\n" + volume + file, Enabled, ""},

		{
			"another webhook, v1beta1", "v1beta1", "clusterConfiguration: {apiServer: {extraArgs: {authentication-token-webhook-config-file: /etc/dex.yaml}}}\n", 0,
			field + `clusterConfiguration.apiServer.extraArgs.authentication-token-webhook-config-file: is "/etc/dex.yaml" already: the API server has one webhook for tokens`,
		},
		{
			"another webhook, v1beta2", "v1beta2", "clusterConfiguration: {apiServer: {extraArgs: [{name: v, value: '4'}, {name: authentication-token-webhook-config-file, value: /etc/dex.yaml}]}}\n", 0,
			field + `clusterConfiguration.apiServer.extraArgs[1].value: is "/etc/dex.yaml" already`,
		},
		{
			"an empty flag", "v1beta2", "clusterConfiguration: {apiServer: {extraArgs: [{name: authentication-token-webhook-config-file}]}}\n", 0,
			field + `clusterConfiguration.apiServer.extraArgs[0].value: is "" already`,
		},
		{
			"the volume's name", "v1beta2", "clusterConfiguration: {apiServer: {extraVolumes: [{name: authconfig, hostPath: /etc/dex, mountPath: /etc/dex}]}}\n", 0,
			field + `clusterConfiguration.apiServer.extraVolumes[0]: has the name "authconfig", which capiam's volume needs, and mounts "/etc/dex" at "/etc/dex": rename it`,
		},
		{
			"the mount path", "v1beta2", "clusterConfiguration: {apiServer: {extraVolumes: [{name: a, hostPath: /a, mountPath: /a}, {name: iam, hostPath: /etc/kubernetes/aws-iam-authenticator, mountPath: /etc/kubernetes/aws-iam-authenticator}]}}\n", 0,
			field + `clusterConfiguration.apiServer.extraVolumes[1].mountPath: mounts "/etc/kubernetes/aws-iam-authenticator" at "/etc/kubernetes/aws-iam-authenticator", where the authenticator's kubeconfig has to be`,
		},
		{
			"a file of another kind", "v1beta2", strings.Replace(file, "content: |", "contentFormat: Raw\n  content: |\n    hello\n  owner: |", 1), 0,
			field + "files[0]: is not a webhook's kubeconfig: /var/lib/kubeadm/aws-iam-authenticator/kubeconfig.yaml is where capiam puts its own; remove this file",
		},
		{
			"a file from a Secret", "v1beta2", "files: [{path: /var/lib/kubeadm/aws-iam-authenticator/kubeconfig.yaml, contentFrom: {secret: {name: a, key: b}}}]\n", 0,
			field + "files[0].contentFrom: is set: /var/lib/kubeadm/aws-iam-authenticator/kubeconfig.yaml is where capiam puts its kubeconfig, in plain; remove this file",
		},
		{"an encoded file", "v1beta1", file + "  encoding: base64\n", 0, field + "files[0].encoding: is set: "},
		{"an appended file", "v1beta1", file + "  append: true\n", 0, field + "files[0]: is not a webhook's kubeconfig"},
		{"arguments of v1beta1 in v1beta2", "v1beta2", flagBeta1, 0, field + "clusterConfiguration.apiServer.extraArgs: is not a list"},
		{"arguments of v1beta2 in v1beta1", "v1beta1", flagBeta2, 0, field + "clusterConfiguration.apiServer.extraArgs: is not a mapping: controlplane.cluster.x-k8s.io/v1beta2 has it as a list"},
		{"a text for a mapping", "v1beta2", "clusterConfiguration: no\n", 0, field + "clusterConfiguration: is not a mapping"},
		{"a file with no path", "v1beta2", "files: [{content: a}]\n", 0, field + "files[0]: has no path"},
		{"a file twice", "v1beta2", "files: [{path: /a}, {path: /b}, {path: /a}]\n", 0, field + `files[2].path: is "/a" for the second time in this list: remove one`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := kcpWith(t, tt.version, tt.text)
			before := u.DeepCopy()
			webhook := webhookFor(t, "the CA")
			got, err := Inspect(u, nil, webhook)
			changed, enableErr := Enable(u, nil, wiring(webhook))
			if tt.err != "" {
				for _, err := range []error{err, enableErr} {
					if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
						t.Errorf("got  %v\nwant %s", err, tt.err)
					}
				}
				if !reflect.DeepEqual(u, before) {
					t.Error("the object was changed all the same")
				}
				return
			}
			if err != nil || got != tt.want {
				t.Fatalf("got %s, %v; want %s", got, err, tt.want)
			}
			if enableErr != nil || changed != (got != Enabled) {
				t.Fatalf("Enable: changed = %t, %v", changed, enableErr)
			}
			if got, err := Inspect(u, nil, webhook); got != Enabled || err != nil {
				t.Errorf("after Enable: %s, %v", got, err)
			}
			if changed, err := Enable(u, nil, wiring(webhook)); changed || err != nil {
				t.Errorf("the second Enable: changed = %t, %v", changed, err)
			}
		})
	}
}

func TestNotAKubeadmControlPlane(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"apiVersion: controlplane.cluster.x-k8s.io/v1alpha4\nkind: KubeadmControlPlane\nmetadata: {name: cp}\n",
		"apiVersion: controlplane.cluster.x-k8s.io/v1beta2\nkind: RKE2ControlPlane\nmetadata: {name: cp}\n",
	} {
		if _, err := Inspect(object(t, text), nil, webhookFor(t, "the CA")); err == nil || !strings.Contains(err.Error(), "capiam patches a KubeadmControlPlane of controlplane.cluster.x-k8s.io/v1beta1 or v1beta2") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, webhook := range []string{"", "a: b", "{"} {
		u := kcpWith(t, "v1beta2", "")
		if _, err := Enable(u, nil, Wiring{Webhook: []byte(webhook)}); err == nil || !strings.HasPrefix(err.Error(), "the API server's kubeconfig: ") {
			t.Errorf("%q: %v", webhook, err)
		}
	}
}

// TestDisable checks that only capiam's and EKS Anywhere's settings go, and that
// somebody else's webhook stays.
func TestDisable(t *testing.T) {
	t.Parallel()
	eksa := `    - name: awsiamcert
      hostPath: /var/lib/kubeadm/aws-iam-authenticator/pki/
      mountPath: /var/aws-iam-authenticator/
`
	pki := `- {path: /var/lib/kubeadm/aws-iam-authenticator/pki/cert.pem, contentFrom: {secret: {name: a, key: cert.pem}}}
- {path: /var/lib/kubeadm/aws-iam-authenticator/pki/key.pem, contentFrom: {secret: {name: a, key: key.pem}}}
`
	const others = "clusterConfiguration: {apiServer: {extraArgs: {authentication-token-webhook-config-file: /etc/dex.yaml}}}\n"
	for _, tt := range []struct {
		name, version, text string
		want                string
		changed             bool
	}{
		{"nothing", "v1beta1", "{}\n", "{}\n", false},
		{"somebody else's", "v1beta1", others, others, false},
		{"capiam's", "v1beta1", flagBeta1 + volume + file, "{}\n", true},
		{"EKS Anywhere's", "v1beta1", flagBeta1 + volume + eksa + file + pki, "{}\n", true},
		{"what is left of it", "v1beta1", file + pki + "verbosity: 2\n", "verbosity: 2\n", true},
		{"beside others", "v1beta1", flagBeta1 + "      v: '4'\n" + volume + file + "- path: /etc/motd\n", "clusterConfiguration: {apiServer: {extraArgs: {v: '4'}}}\nfiles: [{path: /etc/motd}]\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := kcpWith(t, tt.version, tt.text)
			changed, err := Disable(u, nil)
			if err != nil || changed != tt.changed {
				t.Fatalf("changed = %t, %v", changed, err)
			}
			if d := cmp.Diff(kcpWith(t, tt.version, tt.want), u); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
	// v1beta2 allows no empty KubeadmConfigSpec.
	u := kcpWith(t, "v1beta2", flagBeta2+volume+file)
	if changed, err := Disable(u, nil); err != nil || !changed {
		t.Fatalf("changed = %t, %v", changed, err)
	}
	if _, found, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "kubeadmConfigSpec"); found {
		t.Error("an empty kubeadmConfigSpec stays")
	}
	// A conflict beside our flag is not passed over in silence.
	u = kcpWith(t, "v1beta2", flagBeta2+strings.Replace(volume, "/var/lib", "/opt", 1))
	if changed, err := Disable(u, nil); err == nil || changed {
		t.Errorf("changed = %t, %v", changed, err)
	}
}

// TestAnyControlPlane makes control planes up and checks that the patch adds
// its four entries and changes nothing else, in the object and in text, that
// Cluster API's own types take the result, and that it can be taken back.
func TestAnyControlPlane(t *testing.T) {
	t.Parallel()
	webhook := webhookFor(t, "the CA")
	for _, version := range []string{"v1beta1", "v1beta2"} {
		for seed := range uint64(60) {
			t.Run(fmt.Sprintf("%s/%d", version, seed), func(t *testing.T) {
				t.Parallel()
				g := generator{rand.New(rand.NewPCG(seed, 0)), version == "v1beta2"}
				before := g.controlPlane()
				strict(t, before)

				after := before.DeepCopy()
				if changed, err := Enable(after, nil, wiring(webhook)); !changed || err != nil {
					t.Fatalf("changed = %t, %v", changed, err)
				}
				strict(t, after)
				if d := cmp.Diff(expected(before, g.beta2, webhook).Object, after.Object); d != "" {
					t.Fatalf("-want +got\n%s", d)
				}

				text, err := sigsyaml.Marshal(before.Object)
				if err != nil {
					t.Fatal(err)
				}
				if g.coin() {
					text, err = json.Marshal(before.Object)
					if err != nil {
						t.Fatal(err)
					}
				}
				m := manifestsOf(t, text)
				if changed, err := m.Enable(wiring(webhook)); !changed || err != nil {
					t.Fatalf("the text: changed = %t, %v", changed, err)
				}
				if d := cmp.Diff(after.Object, m.patched.object.Object); d != "" {
					t.Fatalf("the text says otherwise: -want +got\n%s", d)
				}
				if changed, err := m.Disable(); !changed || err != nil {
					t.Fatalf("the text: changed = %t, %v", changed, err)
				}
				if err := sameBesides(before, m.patched.object); err != nil {
					t.Error(err)
				}
				if d := cmp.Diff(string(text), string(m.patched.Text)); d != "" && !bytes.HasPrefix(text, []byte("{")) {
					t.Errorf("the text is not what it was: -want +got\n%s", d)
				}

				if changed, err := Disable(after, nil); !changed || err != nil {
					t.Fatalf("changed = %t, %v", changed, err)
				}
				strict(t, after)
				if d := cmp.Diff(before.Object, after.Object); d != "" {
					t.Errorf("-before +after\n%s", d)
				}
			})
		}
	}
}

// manifestsOf makes manifests of a control plane with a Cluster that names it.
func manifestsOf(t *testing.T, kcp []byte) *Manifests {
	t.Helper()
	cluster := "apiVersion: cluster.x-k8s.io/v1beta2\nkind: Cluster\nmetadata: {name: edge}\nspec: {controlPlaneRef: {apiGroup: controlplane.cluster.x-k8s.io, kind: KubeadmControlPlane, name: cp}}\n"
	m, err := ReadManifests([]Document{{File: "a", Line: 1, Text: []byte(cluster)}, {File: "b", Line: 1, Text: kcp}}, types.NamespacedName{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// strict decodes an object into Cluster API's own type, with no field unknown.
func strict(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	data, err := json.Marshal(u.Object)
	if err != nil {
		t.Fatal(err)
	}
	var typed any = &controlplanev1.KubeadmControlPlane{}
	if u.GroupVersionKind().Version == "v1beta1" {
		typed = &controlplanev1beta1.KubeadmControlPlane{}
	}
	if err := sigsyaml.UnmarshalStrict(data, typed); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
}

// expected is what Enable should make of an object, said once more in plain Go.
func expected(u *unstructured.Unstructured, beta2 bool, webhook []byte) *unstructured.Unstructured {
	u = u.DeepCopy()
	child := func(m map[string]any, key string) map[string]any {
		if m[key] == nil {
			m[key] = map[string]any{}
		}
		return m[key].(map[string]any)
	}
	prepend := func(m map[string]any, key string, element map[string]any) {
		list, _ := m[key].([]any)
		m[key] = append([]any{element}, list...)
	}
	config := child(child(u.Object, "spec"), "kubeadmConfigSpec")
	apiServer := child(child(config, "clusterConfiguration"), "apiServer")
	if beta2 {
		prepend(apiServer, "extraArgs", map[string]any{"name": "authentication-token-webhook-config-file", "value": "/etc/kubernetes/aws-iam-authenticator/kubeconfig.yaml"})
	} else {
		child(apiServer, "extraArgs")["authentication-token-webhook-config-file"] = "/etc/kubernetes/aws-iam-authenticator/kubeconfig.yaml"
	}
	prepend(apiServer, "extraVolumes", map[string]any{"name": "authconfig", "hostPath": "/var/lib/kubeadm/aws-iam-authenticator/", "mountPath": "/etc/kubernetes/aws-iam-authenticator/", "readOnly": true})
	prepend(config, "files", map[string]any{"path": "/var/lib/kubeadm/aws-iam-authenticator/kubeconfig.yaml", "owner": "root:root", "permissions": "0640", "content": string(webhook)})
	files := config["files"].([]any)
	config["files"] = slices.Insert(files, 1, any(map[string]any{
		"path": "/etc/kubernetes/manifests/aws-iam-authenticator-bootstrap.yaml", "owner": "root:root", "permissions": "0600",
		"contentFrom": map[string]any{"secret": map[string]any{"name": "edge-aws-iam-authenticator-bootstrap", "key": "pod.yaml"}},
	}))
	return u
}

// generator makes KubeadmControlPlanes up.
type generator struct {
	*rand.Rand
	beta2 bool
}

func (g generator) coin() bool { return g.IntN(2) == 0 }

// text is one that YAML's readers disagree on, or have trouble with.
func (g generator) text() string {
	texts := []string{
		"yes", "no", "on", "off", "y", "n", "true", "null", "~", "0640", "1e3", "0x10", "1_000", "12:30:45", ".inf", "2026-01-01",
		"a: b", "# no comment", "- a", "*a", "&a", "!b", "{}", "[]", "''", `"`, "%", "@", "`", " padded ", "\ttab", "trailing\n", "\n leading",
		"two\nlines", "blank\n\nline\n", "  indented\nfirst\n", "---\ndashes\n", "...", "ends in colon:", "ümlaut 漢字 🙂", "\u2028", "\u0007", "$patch", "{{ .x }}", "<<", "=",
		strings.Repeat("long ", 60), "plain",
	}
	return texts[g.IntN(len(texts))]
}

func (g generator) texts() []any {
	list := []any{}
	for range g.IntN(3) + 1 {
		list = append(list, g.text())
	}
	return list
}

func (g generator) args() any {
	names := []string{"v", "audit-log-path", "feature-gates", "authentication-token-webhook-version", "authentication-config", "oidc-issuer-url"}
	names = names[:g.IntN(len(names))+1]
	g.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	if !g.beta2 {
		m := map[string]any{}
		for _, name := range names {
			m[name] = g.text()
		}
		return m
	}
	var list []any
	for _, name := range names {
		list = append(list, map[string]any{"name": name, "value": g.text()})
	}
	return list
}

func (g generator) volumes() []any {
	var list []any
	for i := range g.IntN(3) + 1 {
		v := map[string]any{"name": fmt.Sprintf("v%d", i), "hostPath": "/h" + g.text(), "mountPath": fmt.Sprintf("/m%d", i)}
		if g.coin() {
			v["readOnly"] = g.coin()
		}
		if g.coin() {
			v["pathType"] = "File"
		}
		list = append(list, v)
	}
	return list
}

func (g generator) files() []any {
	var list []any
	for i := range g.IntN(4) + 1 {
		f := map[string]any{"path": fmt.Sprintf("/etc/%d %s", i, g.text())}
		switch g.IntN(3) {
		case 0:
			f["content"] = g.text()
		case 1:
			f["contentFrom"] = map[string]any{"secret": map[string]any{"name": g.text(), "key": g.text()}}
		}
		if g.coin() {
			f["append"] = g.coin()
		}
		if g.coin() {
			f["permissions"] = g.text()
		}
		list = append(list, f)
	}
	return list
}

func (g generator) registration() map[string]any {
	r := map[string]any{"name": g.text(), "kubeletExtraArgs": g.args(), "ignorePreflightErrors": g.texts()}
	switch g.IntN(3) {
	case 0:
		r["taints"] = []any{}
	case 1:
		r["taints"] = []any{map[string]any{"key": "a", "value": g.text(), "effect": "NoSchedule"}}
	}
	return r
}

func (g generator) controlPlane() *unstructured.Unstructured {
	config := map[string]any{}
	maybe := func(m map[string]any, key string, value func() any) {
		if g.IntN(3) > 0 {
			m[key] = value()
		}
	}
	maybe(config, "clusterConfiguration", func() any {
		c := map[string]any{"certificatesDir": g.text()}
		maybe(c, "apiServer", func() any {
			a := map[string]any{"certSANs": g.texts()}
			maybe(a, "extraArgs", func() any { return g.args() })
			maybe(a, "extraVolumes", func() any { return g.volumes() })
			return a
		})
		maybe(c, "scheduler", func() any { return map[string]any{"extraArgs": g.args(), "extraVolumes": g.volumes()} })
		return c
	})
	maybe(config, "files", func() any { return g.files() })
	maybe(config, "initConfiguration", func() any { return map[string]any{"nodeRegistration": g.registration()} })
	maybe(config, "joinConfiguration", func() any { return map[string]any{"nodeRegistration": g.registration()} })
	maybe(config, "preKubeadmCommands", func() any { return g.texts() })
	maybe(config, "ntp", func() any { return map[string]any{"enabled": g.coin(), "servers": g.texts()} })
	maybe(config, "verbosity", func() any { return g.Int64N(10) })
	maybe(config, "users", func() any { return []any{map[string]any{"name": g.text(), "sshAuthorizedKeys": g.texts()}} })
	if len(config) == 0 {
		config["format"] = "cloud-config"
	}
	infra := map[string]any{"infrastructureRef": map[string]any{"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "DevMachineTemplate", "name": g.text()}}
	version := "v1beta1"
	if g.beta2 {
		version = "v1beta2"
		infra = map[string]any{"spec": map[string]any{"infrastructureRef": map[string]any{"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachineTemplate", "name": g.text()}}}
	}
	annotations := map[string]any{}
	for _, key := range []string{"a/b", "y", "0"} {
		annotations[key] = g.text()
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "controlplane.cluster.x-k8s.io/" + version,
		"kind":       "KubeadmControlPlane",
		"metadata":   map[string]any{"name": "cp", "annotations": annotations},
		"spec":       map[string]any{"version": "v1.36.3", "replicas": g.Int64N(5), "kubeadmConfigSpec": config, "machineTemplate": infra},
	}}
}

// wiring is the whole of what Enable can set.
func wiring(webhook []byte) Wiring {
	return Wiring{Webhook: webhook, BootstrapSecret: BootstrapSecretName("edge")}
}

// TestStaticPodAlone: a static pod that is missing, or no longer wanted, is not
// worth new machines; where they come anyway, it is as it should be.
func TestStaticPodAlone(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1beta1", "v1beta2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			webhook, other := webhookFor(t, "the CA"), webhookFor(t, "another CA")
			u := kcpWith(t, version, "")
			for i, step := range []struct {
				w            Wiring
				changed, pod bool
			}{
				{Wiring{Webhook: webhook}, true, false},
				{wiring(webhook), false, false},
				{wiring(other), true, true},
				{Wiring{Webhook: other}, false, true},
				{Wiring{Webhook: webhook}, true, false},
			} {
				changed, err := Enable(u, nil, step.w)
				if err != nil || changed != step.changed {
					t.Fatalf("step %d: changed = %t, %v", i, changed, err)
				}
				strict(t, u)
				s, err := inspectSetup(u, nil, step.w.Webhook)
				if err != nil || s.Enablement != Enabled || s.StaticPod != step.pod {
					t.Errorf("step %d: %s, static pod %t, %v", i, s, s.StaticPod, err)
				}
			}
		})
	}
	u := kcpWith(t, "v1beta2", "files: [{path: /etc/kubernetes/manifests/aws-iam-authenticator-bootstrap.yaml, content: mine}]\n")
	_, err := Enable(u, nil, wiring(webhookFor(t, "the CA")))
	if err == nil || !strings.Contains(err.Error(), "files[0]: is not from a Secret of capiam's") {
		t.Errorf("somebody's own file: %v", err)
	}
}
