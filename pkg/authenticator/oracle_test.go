package authenticator

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/stssim"
)

// The tests named Oracle run the tables against aws-iam-authenticator itself, so
// that what they say of it stays true, and beside it our own server on the same
// requests: where the two differ, the case is listed here with the reason, and a
// row of docs/compatibility.md says it. They are opt-in (`make oracle`):
//
//	CAPIAM_ORACLE=/path/to/aws-iam-authenticator go test -run Oracle ./pkg/authenticator/...

// readTable reads a table of conformance cases.
func readTable[T any](t *testing.T, path string) []T {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cases []T
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return cases
}

// outcome is what an answer comes to, whatever its form: "denied", "trouble" for
// one that may be asked again, or who it is.
func (r *reply) outcome() string {
	switch {
	case r.HTTP == http.StatusServiceUnavailable, r.HTTP == http.StatusTooManyRequests:
		return "trouble"
	case !r.Status.Authenticated:
		return "denied"
	}
	u := r.Status.User
	return fmt.Sprintf("%s %q: %s %s", u.Username, u.Groups, u.UID, u.Extra)
}

// both is the original and our server, with the same mappings.
type both struct {
	original, ours *subject
	// differs are the cases in which their answers come to something else, and
	// why.
	differs map[string]string
}

func startBoth(t *testing.T, theirs, ourKeys serverKeys, differs map[string]string) *both {
	t.Helper()
	return &both{original: original(t, theirs), ours: ours(t, ourKeys), differs: differs}
}

// ask asks both, and checks that they differ where it is said, and only there.
// It returns the original's answer.
func (b *both) ask(t *testing.T, id string, ask func(s *subject) reply) reply {
	t.Helper()
	b.original.t, b.ours.t = t, t
	theirs, our := ask(b.original), ask(b.ours)
	same := theirs.outcome() == our.outcome()
	switch why := b.differs[id]; {
	case same && why != "":
		t.Errorf("the same answer, though it is said that %s: %s", why, our.outcome())
	case !same && why == "":
		t.Errorf("different answers:\noriginal: %d %s\nours: %d %s", theirs.HTTP, theirs.outcome(), our.HTTP, our.outcome())
	}
	return theirs
}

// TestOracleAnswers: what the original makes of STS's answers.
func TestOracleAnswers(t *testing.T) {
	const accounts serverKeys = "  mapAccounts: [\"123456789012\", \"999999999999\"]\n"
	b := startBoth(t, accounts, accounts, map[string]string{
		"sts-302":          "ours takes a redirect for trouble",
		"sts-dialerr":      "ours takes a connection that fails for trouble",
		"id-acct-mismatch": "ours compares the account with the ARN",
	})
	type answerCase struct {
		ID, Body, ARN, Account, UserID, Want, WantUserID, Canonical string
		SessionName                                                 *string
		Status                                                      int
		TransportError                                              string `json:"transport_error"`
		BodyReadError                                               bool   `json:"body_read_error"`
		AccessKeyID                                                 string
	}
	for _, c := range readTable[answerCase](t, "stsclient/testdata/answers.json") {
		t.Run(c.ID, func(t *testing.T) {
			fault := answering(c.Status, c.Body)
			switch {
			case c.BodyReadError:
				t.Skip("the simulated STS cuts no answer short")
			case c.TransportError != "":
				fault.Kind = stssim.FaultDrop
			case c.AccessKeyID != "":
				c.ARN, c.UserID, c.Want = "arn:aws:iam::123456789012:user/Alice", "AIDAX", "accept"
			}
			if c.ARN != "" {
				if c.Account == "" {
					c.Account = "123456789012"
				}
				fault = answering(http.StatusOK, callerBody(c.ARN, c.Account, c.UserID))
			}
			got := b.ask(t, c.ID, func(s *subject) reply { return s.review(s.token(), fault) })
			want := map[string]int{"accept": 200, "sts_error": 403, "throttle": 429}[c.Want]
			if got.HTTP != want {
				t.Fatalf("the original answers %d, the table says %d: %s", got.HTTP, want, got.Text)
			}
			if want != http.StatusOK {
				return
			}
			if c.Canonical == "same" || c.Canonical == "same as arn" || c.Canonical == "path kept" {
				c.Canonical = c.ARN
			}
			extra := func(key string) string { return strings.Join(got.Status.User.Extra[key], ",") }
			if c.Canonical != "" && extra(extraCanonicalARN) != c.Canonical ||
				c.SessionName != nil && extra(extraSessionName) != *c.SessionName ||
				c.WantUserID != "" && extra(extraPrincipalID) != c.WantUserID ||
				c.AccessKeyID != "" && extra(extraAccessKeyID) != "AKIDEXAMPLE12345678" {
				t.Errorf("got %s", got.Text)
			}
		})
	}
}

// TestOracleARNs: the canonical ARN of whom STS names, and by its account
// whether it is anybody's.
func TestOracleARNs(t *testing.T) {
	const accounts serverKeys = "  mapAccounts: [\"123456789012\"]\n"
	path, partition := "ours takes the path off a role", "ours takes principals of its own partition only"
	b := startBoth(t, accounts, accounts, map[string]string{
		"arn-06": path, "arn-09": path, "arn-13": path,
		"arn-07": partition, "arn-08": partition, "arn-25": partition,
		"arn-11": "a role has a name in ours",
		"arn-21": "an IAM ARN has no region in ours",
	})
	for _, c := range readTable[struct{ ID, ARN, Canonical string }](t, "../iam/testdata/arn-canonicalisation.json") {
		if c.Canonical == "" {
			continue // matching by wildcards: test/oracle/bench/tables
		}
		t.Run(c.ID, func(t *testing.T) {
			full := strings.NewReplacer(":1:", ":123456789012:")
			arn, want := full.Replace(c.ARN), full.Replace(c.Canonical)
			userID := "AROAX:session"
			if strings.Contains(arn, ":user/") || strings.HasSuffix(arn, ":root") || strings.Contains(arn, "federated-user") {
				userID = "AIDAX"
			}
			got := b.ask(t, c.ID, func(s *subject) reply { return s.login(arn, "123456789012", userID) })
			if strings.HasPrefix(want, "error") {
				if got.HTTP != http.StatusForbidden {
					t.Errorf("the original takes it: %d %s", got.HTTP, got.Text)
				}
			} else if name := got.Status.User.Username; name != want {
				t.Errorf("the original says %q, the table %q: %s", name, want, got.Text)
			}
		})
	}
}

// TestOracleTemplates: what the original renders.
func TestOracleTemplates(t *testing.T) {
	type templateCase struct{ ID, Tpl, SessionName, Want, DNS string }
	cases := readTable[templateCase](t, "../mapping/testdata/templates.json")
	var theirs, our strings.Builder
	for _, c := range cases {
		if c.Tpl == "" {
			continue
		}
		entry := fmt.Sprintf("  - rolearn: arn:aws:iam::123456789012:role/%s\n    username: %q\n", c.ID, c.Tpl)
		theirs.WriteString(entry)
		if c.ID != "t-unknown" {
			our.WriteString(entry)
		}
	}
	b := startBoth(t, serverKeys("  mapRoles:\n"+theirs.String()), serverKeys("  mapRoles:\n"+our.String()), map[string]string{
		"t-unknown": "ours refuses the entry",
		"t-nested":  "ours expands a value once",
	})
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			if c.DNS != "" {
				t.Skip("needs EC2, which the simulated STS is not")
			}
			session := c.SessionName
			if session == "" {
				session = "session"
			}
			got := b.ask(t, c.ID, func(s *subject) reply {
				return s.login("arn:aws:iam::123456789012:role/"+c.ID, "123456789012", "AROAX:"+session)
			})
			// The table's values are not of the form real ones have.
			want := strings.NewReplacer("123", "123456789012", "321", "AKIDEXAMPLE12345678", "AKAK (values are expanded again)", "AKIDEXAMPLE12345678AKIDEXAMPLE12345678",
				"unchanged literal", c.Tpl).Replace(c.Want)
			if name := got.Status.User.Username; want == "error" && got.HTTP != http.StatusForbidden || want != "error" && name != want {
				t.Errorf("the original says %d %q, the table %q: %s", got.HTTP, name, want, got.Text)
			}
		})
	}
}

// TestOracleReserved: names with a reserved prefix, as they come out of a
// template, are denied.
func TestOracleReserved(t *testing.T) {
	type reservedCase struct {
		ID       string
		Prefixes []string
		Cases    map[string]bool
	}
	for _, c := range readTable[reservedCase](t, "../mapping/testdata/mapping-lookups.json") {
		if c.ID != "map-reserved" {
			continue
		}
		names := slices.Sorted(maps.Keys(c.Cases))
		prefixes, _ := json.Marshal(c.Prefixes)
		keys := "  reservedPrefixConfig:\n  - backendmode: MountedFile\n    usernamePrefixReserveList: " + string(prefixes) + "\n  mapRoles:\n"
		for i, name := range names {
			// The end of the name is the session's.
			keys += fmt.Sprintf("  - {rolearn: 'arn:aws:iam::123456789012:role/plain%d', username: %q}\n", i, name) +
				fmt.Sprintf("  - {rolearn: 'arn:aws:iam::123456789012:role/rendered%d', username: %q}\n", i, name[:len(name)-2]+"{{SessionNameRaw}}")
		}
		b := startBoth(t, serverKeys(keys), serverKeys(keys), nil)
		for i, name := range names {
			for _, role := range []string{"plain", "rendered"} {
				t.Run(name+"/"+role, func(t *testing.T) {
					session := name[len(name)-2:]
					got := b.ask(t, c.ID, func(s *subject) reply {
						return s.login(fmt.Sprintf("arn:aws:iam::123456789012:role/%s%d", role, i), "123456789012", "AROAX:"+session)
					})
					if got.Status.Authenticated == c.Cases[name] {
						t.Errorf("the original says %s", got.Text)
					}
				})
			}
		}
	}
}

// TestOracleOrder: an account of an earlier backend against an entry of a later
// one, and the other way round.
func TestOracleOrder(t *testing.T) {
	const arn, account = "arn:aws:iam::123456789012:role/R", "  mapAccounts: [\"123456789012\"]\n"
	for _, c := range []struct{ name, modes, want, differs string }{
		{"account first", "[MountedFile, DynamicFile]", arn, "ours takes an entry of any backend before any account"},
		{"entry first", "[DynamicFile, MountedFile]", "explicit", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "dynamic.json")
			if err := os.WriteFile(file, []byte(`{"mapRoles":[{"rolearn":"`+arn+`","username":"explicit"}]}`), 0o600); err != nil {
				t.Fatal(err)
			}
			keys := serverKeys("  backendMode: " + c.modes + "\n  dynamicfilepath: " + file + "\n" + account)
			differs := map[string]string{}
			if c.differs != "" {
				differs["map-order-acct"] = c.differs
			}
			b := startBoth(t, keys, keys, differs)
			b.ours.t, b.original.t = t, t
			// Both may answer before they have read the file.
			for _, s := range []*subject{b.original, b.ours} {
				for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
					name := s.login(arn, "123456789012", "AROAX:s").Status.User.Username
					if name == c.want || s.name == "ours" && name == "explicit" {
						break
					}
					if time.Now().After(deadline) {
						t.Fatalf("%s says %q", s.name, name)
					}
				}
			}
			b.ask(t, "map-order-acct", func(s *subject) reply { return s.login(arn, "123456789012", "AROAX:s") })
		})
	}
}
