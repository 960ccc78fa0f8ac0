package applied

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capiam/capiam/pkg/mapping"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	m := mapping.Mappings{
		Roles: []mapping.Entry{
			{ARN: "arn:aws:iam::111122223333:role/dev", Username: "dev:{{SessionName}}", Groups: []string{"a", "b"}},
			{SSO: &mapping.SSO{PermissionSetName: "Admin", AccountID: "111122223333"}, Username: "admin"},
		},
		Users:    []mapping.Entry{{ARN: "arn:aws:iam::111122223333:user/alice", Username: "alice", UserID: "AIDA"}},
		Accounts: []string{"444455556666"},
	}
	for name, want := range map[string]mapping.Mappings{"none": {}, "some": m} {
		text, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(text, mapping.Mappings{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
	}
	if got, err := Decode("", m); err != nil || len(got.Roles) > 0 {
		t.Errorf("no note gives %v, %v", got, err)
	}
}

// TestManyMappings is about as many as a ConfigMap can hold. The note has to
// stay below the limit of annotations, and still tell which entries of the
// live ones are ours.
func TestManyMappings(t *testing.T) {
	t.Parallel()
	var m mapping.Mappings
	for i := range 17000 {
		m.Roles = append(m.Roles, mapping.Entry{ARN: fmt.Sprintf("arn:aws:iam::111122223333:role/r%d", i), Username: "u"})
	}
	text, err := Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if limit := 250 << 10; len(text) > limit {
		t.Errorf("note of %d bytes, at most %d fit", len(text), limit)
	}
	ours := mapping.Entry{ARN: "arn:aws:iam::111122223333:role/some/path/R17", Username: "edited by hand"}
	live := mapping.Mappings{
		Roles:    []mapping.Entry{{ARN: "arn:aws:iam::111122223333:role/foreign", Username: "x"}, ours},
		Users:    []mapping.Entry{{ARN: "arn:aws:iam::111122223333:user/foreign", Username: "x"}},
		Accounts: []string{"444455556666"},
	}
	got, err := Decode(text, live)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(mapping.Mappings{Roles: []mapping.Entry{ours}}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"roles":[{"arn":"arn:aws:iam::111122223333:role/dev","username":"dev"}]}`)
	f.Add(`{"hashes":"AAAA"}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Decode(text, mapping.Mappings{Accounts: []string{"444455556666"}})
		if err != nil {
			return
		}
		if _, err := Encode(m); err != nil {
			t.Errorf("decoded, but %v", err)
		}
	})
}
