package install

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/render"
)

func identities(t *testing.T, entries ...mapping.Entry) []*unstructured.Unstructured {
	t.Helper()
	objects, err := render.IdentityMappings(mapping.Mappings{Roles: entries})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func values(objects []*unstructured.Unstructured) []unstructured.Unstructured {
	var list []unstructured.Unstructured
	for _, u := range objects {
		list = append(list, *u.DeepCopy())
	}
	return list
}

// foreign is an object that somebody else made.
func foreign(t *testing.T, e mapping.Entry) unstructured.Unstructured {
	t.Helper()
	u := values(identities(t, e))[0]
	u.SetName("by-hand")
	u.SetLabels(nil)
	return u
}

func TestPlanIdentityMappings(t *testing.T) {
	t.Parallel()
	a, b, c := role("a", "a"), role("b", "b"), role("c", "c")
	edited := role("a", "edited")
	edited.Groups = []string{"x", "y"}
	for _, tt := range []struct {
		name          string
		live, desired []mapping.Entry
		lines         []string
	}{
		{"nothing", nil, nil, nil},
		{"first", nil, []mapping.Entry{a}, []string{"+ arn:aws:iam::111122223333:role/a as a"}},
		{"right already", []mapping.Entry{a, b}, []mapping.Entry{b, a}, nil},
		{
			"all at once", []mapping.Entry{a, b}, []mapping.Entry{edited, c},
			[]string{
				"+ arn:aws:iam::111122223333:role/c as c",
				"- arn:aws:iam::111122223333:role/b as b",
				"~ arn:aws:iam::111122223333:role/a as a  =>  arn:aws:iam::111122223333:role/a as edited, groups x, y",
			},
		},
		{"another spelling", []mapping.Entry{a}, []mapping.Entry{{ARN: "arn:aws:iam::111122223333:role/some/path/a", Username: "a"}}, nil},
		{"none any more", []mapping.Entry{a}, nil, []string{"- arn:aws:iam::111122223333:role/a as a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			live := append(values(identities(t, tt.live...)), foreign(t, role("somebody", "else")))
			p, err := planIdentityMappings(live, identities(t, tt.desired...))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.lines, p.Lines()); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if p.Empty() != (len(tt.lines) == 0) || len(p.Foreign) != 1 {
				t.Errorf("empty %v, %d foreign", p.Empty(), len(p.Foreign))
			}
			if got := len(p.After().Roles); got != len(tt.desired)+1 {
				t.Errorf("%d entries afterwards, want %d", got, len(tt.desired)+1)
			}
		})
	}
}

func TestTwoObjectsForOnePrincipal(t *testing.T) {
	t.Parallel()
	live := []unstructured.Unstructured{foreign(t, role("A", "theirs"))}
	_, err := planIdentityMappings(live, identities(t, role("a", "ours")))
	if err == nil || !strings.Contains(err.Error(), "by-hand") {
		t.Errorf("error %v, want one that names the other object", err)
	}
}
