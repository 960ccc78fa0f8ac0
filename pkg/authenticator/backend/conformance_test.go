package backend

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/pkg/mapping"
)

// backendCases returns the IDs of the cases in pkg/mapping's tables that only a
// backend can show: files and watches.
func backendCases(t *testing.T) []string {
	t.Helper()
	var ids []string
	for file, prefixes := range map[string][]string{
		"aws-auth-parsing.json": {"cm-watch-", "cm-nobar"},
		"mapping-lookups.json":  {"dyn-"},
	} {
		data, err := os.ReadFile(filepath.Join("..", "..", "mapping", "testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		var cases []struct{ ID string }
		if err := json.Unmarshal(data, &cases); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, c := range cases {
			for _, p := range prefixes {
				if strings.HasPrefix(c.ID, p) {
					ids = append(ids, c.ID)
				}
			}
		}
	}
	return ids
}

// TestBackendConformance runs the cases of pkg/mapping's tables that need a file
// or a watch. A case without a test fails, and so does a test without a case.
func TestBackendConformance(t *testing.T) {
	t.Parallel()
	good := `{"mapRoles":[{"rolearn":"` + role("p/R") + `","username":"u"}]}`
	// refused is a file that is not taken over: the old one stays in force, and
	// it is said.
	refused := func(texts ...string) func(*testing.T) {
		return func(t *testing.T) {
			d := newDynamicBench(t)
			d.start()
			d.write(good)
			for _, text := range texts {
				d.write(text)
				if got := d.username(role("R")); got != "u" || d.store.Status()[0].Problem == "" {
					t.Errorf("%s: R is %s, problem %q", text, got, d.store.Status()[0].Problem)
				}
			}
		}
	}
	before := map[string]string{
		"mapRoles": roles("Good")["mapRoles"], "mapUsers": users("Matlan", "Nic"),
		"mapAccounts": "- \"123456789012\"\n- \"345678901234\"\n",
	}
	tests := map[string]func(*testing.T){
		"dyn-ok": func(t *testing.T) {
			d := newDynamicBench(t)
			d.start()
			d.write(`{"mapRoles":[{"rolearn":"` + role("Old") + `","username":"old"}]}`)
			d.write(good)
			// The key has no path here: STS never shows a role's.
			for arn, want := range map[string]string{role("R"): "u", role("r"): "u", role("p/R"): "u", role("Old"): "nobody"} {
				if got := d.username(arn); got != want {
					t.Errorf("%s is %s, want %s", arn, got, want)
				}
			}
		},
		"dyn-one-empty": refused(`{"mapRoles":[{"rolearn":"` + role("R") + `","username":"x"},{"username":"y"}]}`),
		"dyn-sso":       refused(`{"mapRoles":[{"sso":{"permissionSetName":"Admin","accountID":"111122223333"},"username":"x"}]}`),
		"dyn-badjson":   refused(good[:40], "", "mapRoles: []\n"),
		"dyn-badtype":   refused(`{"mapRoles":[{"rolearn":"` + role("R") + `","username":5}]}`),
		// The original has it under the empty key; here it is left out, and said.
		"dyn-notarn": func(t *testing.T) {
			d := newDynamicBench(t)
			d.start()
			d.write(`{"mapRoles":[{"rolearn":"` + role("R") + `","username":"u"},{"rolearn":"junk","username":"x"}]}`)
			if got := d.username(role("R")); got != "u" {
				t.Errorf("its neighbour is %s", got)
			}
			said := d.store.Status()[0].Problem
			for _, f := range d.store.Status()[0].Findings {
				said += f.String()
			}
			if !strings.Contains(said, "junk") {
				t.Errorf("nothing is said: %+v", d.store.Status()[0])
			}
		},
		"dyn-delete": func(t *testing.T) {
			d := newDynamicBench(t)
			d.start()
			d.write(good)
			d.remove()
			if got := d.username(role("R")); got != "nobody" {
				t.Errorf("R is %s", got)
			}
			d.write(good)
			if got := d.username(role("R")); got != "u" {
				t.Errorf("R is %s when the file is back", got)
			}
		},
		// The API server refuses such a ConfigMap: it is none.
		"cm-nobar": func(t *testing.T) {
			var cm corev1.ConfigMap
			if err := yaml.Unmarshal([]byte("apiVersion: v1\nkind: ConfigMap\ndata:\n  mapRoles:\n  - rolearn: "+role("A")+"\n"), &cm); err == nil {
				t.Errorf("a list is text: %v", cm.Data)
			}
		},
		"cm-watch-add": func(t *testing.T) {
			b := newBench(t)
			b.start(mapping.BackendEKSConfigMap)
			b.awsAuth(before)
			for arn, want := range map[string]string{
				role("Good"): "good", user("Matlan"): "matlan", user("Nic"): "nic",
				"arn:aws:iam::123456789012:role/X": "arn:aws:iam::123456789012:role/X", "arn:aws:iam::345678901234:role/X": "arn:aws:iam::345678901234:role/X",
			} {
				b.becomes(arn, want)
			}
		},
		"cm-watch-mod": func(t *testing.T) {
			b := newBench(t)
			b.awsAuth(before)
			b.start(mapping.BackendEKSConfigMap)
			b.becomes(user("Matlan"), "matlan")
			b.awsAuth(map[string]string{"mapRoles": before["mapRoles"], "mapUsers": users("Nic"), "mapAccounts": "- \"123456789012\"\n- \"567890123456\"\n"})
			b.becomes("arn:aws:iam::567890123456:role/X", "arn:aws:iam::567890123456:role/X")
			for arn, want := range map[string]string{
				role("Good"): "good", user("Nic"): "nic", user("Matlan"): "nobody", "arn:aws:iam::345678901234:role/X": "nobody",
			} {
				if got := b.username(arn); got != want {
					t.Errorf("%s is %s, want %s", arn, got, want)
				}
			}
		},
	}
	// These stand by themselves.
	elsewhere := map[string]func(*testing.T){
		"cm-watch-bad": TestBrokenAWSAuthKeepsWhatWasGood,
		"cm-watch-del": TestDeletedAWSAuthHasGrace,
		"cm-watch-hot": TestWatchIsNotAskedForWithoutPause,
	}
	cases := map[string]bool{}
	for _, id := range backendCases(t) {
		cases[id] = true
		test, here := tests[id]
		if !here {
			if elsewhere[id] == nil {
				t.Errorf("%s has no test", id)
			}
			continue
		}
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
	if len(cases) != len(tests)+len(elsewhere) {
		t.Errorf("%d cases, %d tests: some test has no case", len(cases), len(tests)+len(elsewhere))
	}
}

func user(name string) string { return "arn:aws:iam::111122223333:user/" + name }

func users(names ...string) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString("- userarn: " + user(n) + "\n  username: " + strings.ToLower(n) + "\n  groups: [g]\n")
	}
	return b.String()
}
