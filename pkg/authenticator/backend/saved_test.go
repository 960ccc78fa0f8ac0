package backend

import (
	"log/slog"
	"reflect"
	"testing"
	"time"

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

// A server that comes to replace one with the last good table must not pass for
// as good: it has loaded once it knows whom every key maps.
func TestBrokenFromTheStartIsNotLoaded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	broken := map[string]string{"mapRoles": "- rolearn: " + role("A") + "\n username: a\n", "mapUsers": users("U")}
	b.awsAuth(broken)
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(user("U"), "u")
	wantPartly := func() {
		t.Helper()
		if got, st := b.username(role("A")), b.store.Status()[0]; got != "not loaded" || st.Loaded || st.Problem == "" {
			t.Errorf("A is %s, %+v", got, st)
		}
	}
	wantPartly()
	broken["mapUsers"] = users("U", "V")
	b.awsAuth(broken)
	b.becomes(user("V"), "v")
	wantPartly() // what was unknown before is no last good one
	b.awsAuth(map[string]string{"mapRoles": roles("A")["mapRoles"], "mapUsers": users("U")})
	b.becomes(role("A"), "a")
	if st := b.store.Status()[0]; !st.Loaded || st.Problem != "" {
		t.Errorf("mended: %+v", st)
	}
	b.awsAuth(broken)
	b.becomes(user("V"), "v")
	if got := b.username(role("A")); got != "a" || !b.store.Status()[0].Loaded {
		t.Errorf("broken after it was good: A is %s", got)
	}
}

func TestSavedTableIsOneClusters(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.clusterID = "one"
	b.awsAuth(roles("A"))
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(role("A"), "a")
	b.stop()
	b.kube.Delete(awsAuthPath)
	b.clusterID = "other"
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(role("A"), "nobody")
}

// What is missing after a restart may have been for as long as nobody looked.
func TestOldSavedTable(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		off   time.Duration
		first string
	}{
		"half an hour":   {30 * time.Minute, "a"},
		"a night":        {8 * time.Hour, "nobody"},
		"clock set back": {-8 * time.Hour, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.awsAuth(roles("A"))
			b.start(mapping.BackendEKSConfigMap)
			b.becomes(role("A"), "a")
			b.clock.advance(10 * time.Hour) // in force all the while
			b.stop()
			b.kube.Delete(awsAuthPath)
			b.clock.advance(tc.off)
			b.start(mapping.BackendEKSConfigMap)
			b.becomes(role("A"), tc.first)
			if tc.off == 30*time.Minute {
				b.eventually("it is missing for as long", func() bool {
					saved := loadTable(b.dir, awsAuthName, "", slog.New(slog.DiscardHandler))
					return b.clock.Now().Sub(saved.Missing[mapping.MapRoles]) == tc.off
				})
			}
		})
	}
}

func TestGraceEndsInSpiteOfAWrongClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	g := newGrace(time.Hour, func() time.Time { return now })
	g.resume(map[string]time.Time{mapping.MapRoles: now.Add(24 * 365 * time.Hour)}, time.Time{})
	if left := g.left(); left != time.Hour {
		t.Errorf("%s are left", left)
	}
}
