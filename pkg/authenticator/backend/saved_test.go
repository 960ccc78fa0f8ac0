package backend

import (
	"reflect"
	"testing"

	"github.com/capiam/capiam/pkg/mapping"
)

// What is kept over a restart must give the table in force, and without the last
// good one that helped to make it.
func TestSavedTextIsGood(t *testing.T) {
	t.Parallel()
	good := roles("A", "B")["mapRoles"]
	last, _ := mapping.Parse(map[string]string{"mapRoles": good, "mapAccounts": `["123456789012"]`})
	for name, data := range map[string]map[string]string{
		"as it is":       {"mapRoles": "# by hand\n" + good, "mapAccounts": `["123456789012"]`},
		"warning":        {"mapRoles": good + good},
		"unknown key":    {"mapRoles": good, "notes": "not ours to keep"},
		"broken key":     {"mapRoles": good + "  x", "mapUsers": ""},
		"damaged entry":  {"mapRoles": "- rolearn: " + role("A") + "\n  username: [1]\n"},
		"wrong spelling": {"mapRoles": good, "maproles": good},
		"empty":          {},
	} {
		table, findings := mapping.ParseWithLastGood(data, last)
		saved := goodText(data, table.Mappings(), findings)
		again, wrong := mapping.Parse(saved)
		if !reflect.DeepEqual(again.Mappings(), table.Mappings()) {
			t.Errorf("%s: comes back as %+v, was %+v", name, again.Mappings(), table.Mappings())
		}
		for _, f := range wrong {
			if f.Severity == mapping.Error {
				t.Errorf("%s: %s", name, f)
			}
		}
		if _, kept := saved["notes"]; kept {
			t.Errorf("%s: keeps what is not a table", name)
		}
	}
}
