package backend

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/mapping"
)

// What has nothing wrong is kept as it was written, and what nobody reads is not
// kept; all else is mapping: TestSaved's.
func TestSavedTable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	data := map[string]string{"mapRoles": "# by hand\n" + roles("A")["mapRoles"], "mapUsers": users("U") + "- {}\n", "notes": "not ours to keep"}
	b.awsAuth(data)
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(role("A"), "a")
	b.stop()
	saved := loadTable(b.dir, awsAuthName, "", slog.New(slog.DiscardHandler))
	if saved.Data["mapRoles"] != data["mapRoles"] || len(saved.Data) != 2 || len(saved.Text) != 1 || saved.Text["mapUsers"] != data["mapUsers"] {
		t.Errorf("saved: %+v", saved)
	}
}

// A restart changes nothing: what was damaged before it stands for whom it stood
// for, or for nobody.
func TestRestartRemembersDamage(t *testing.T) {
	t.Parallel()
	entry := func(name, username string) string {
		return "- rolearn: \"" + role(name) + "\"\n  username: " + username + "\n"
	}
	full := func(roles string) map[string]string {
		return map[string]string{"mapRoles": roles, "mapUsers": "[]", "mapAccounts": "[]"}
	}
	for name, tt := range map[string]struct{ before, was, now, later, a, b string }{
		"nobody by its place":    {entry("A", "a") + entry("B", "b") + "- {}\n", "b", entry("A", "a") + "- {}\n", "", "a", "nobody"},
		"nobody by its username": {entry("A", "x") + entry("B", "b") + entry("Bob ", "b"), "b", entry("A", "x") + entry("Bob ", "b"), "", "x", "nobody"},
		"nobody for a time":      {entry("B", "b") + entry("C", "5"), "b", entry("C", "5"), "", "nobody", "nobody"},
		"one that stood in goes on": {
			entry("B", "dev") + entry("Z", "z"), "dev", entry("A", "dev") + "- {}\n" + entry("B ", "dev") + entry("Z", "z"),
			entry("A", "dev") + "- {}\n" + entry("B ", "dev") + entry("Z", "z"), "dev", "dev",
		},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", name, restart), func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.awsAuth(full(tt.before))
				b.start(mapping.BackendEKSConfigMap)
				b.becomes(role("B"), tt.was)
				states := []string{tt.now}
				if tt.later != "" {
					states = append(states, tt.later)
				}
				for i, text := range states {
					if restart {
						b.stop()
					}
					data := full(text)
					data["mapUsers"] = users(string(rune('M' + i))) // to see that it has been read
					b.awsAuth(data)
					if restart {
						b.start(mapping.BackendEKSConfigMap)
					}
					b.becomes(user(string(rune('M'+i))), strings.ToLower(string(rune('M'+i))))
					if a, second := b.username(role("A")), b.username(role("B")); a != tt.a || second != tt.b {
						t.Errorf("A is %s, B is %s", a, second)
					}
				}
			})
		}
	}
}

// A saved table that cannot be read is as good as none: a key that is broken now
// has no last good one.
func TestUnreadableSavedTable(t *testing.T) {
	t.Parallel()
	for name, saved := range map[string]savedTable{
		"no YAML":        {Saved: mapping.Saved{Data: map[string]string{"mapRoles": "- ["}}},
		"another's text": {Saved: mapping.Saved{Data: map[string]string{"mapRoles": roles("A")["mapRoles"]}, Text: map[string]string{"mapRoles": "- {}\n- {}\n"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			if err := saved.store(b.dir, awsAuthName); err != nil {
				t.Fatal(err)
			}
			b.awsAuth(map[string]string{"mapRoles": "- {", "mapUsers": users("U")})
			b.start(mapping.BackendEKSConfigMap)
			b.becomes(user("U"), "u")
			if got := b.username(role("A")); got != "not loaded" {
				t.Errorf("A is %s", got)
			}
		})
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

// What cannot be kept over a restart is in force all the same.
func TestSnapshotThatCannotBeKept(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	file := filepath.Join(b.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.dir = filepath.Join(file, "mappings")
	for _, name := range []string{"A", "B"} {
		b.awsAuth(roles(name))
		b.start(mapping.BackendEKSConfigMap)
		b.becomes(role(name), strings.ToLower(name))
		if st := b.store.Status()[0]; !st.Loaded || st.Problem != "" {
			t.Errorf("%+v", st)
		}
		b.stop()
	}
}

// A pod that ends leaves alone what the one that takes over has saved. One that
// starts removes what another was killed over.
func TestLastSaveIsNotUndone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old, fresh := filepath.Join(b.dir, ".aws-auth.last-good.json.1"), filepath.Join(b.dir, ".aws-auth.last-good.json.2")
	for _, file := range []string{old, fresh} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-2*leftoverAge)); err != nil {
		t.Fatal(err)
	}
	b.awsAuth(roles("A"))
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(role("A"), "a")
	log := slog.New(slog.DiscardHandler)
	// The table is in force before it is saved.
	b.eventually("it is saved", func() bool { return loadTable(b.dir, awsAuthName, "", log).Data != nil })
	saved := loadTable(b.dir, awsAuthName, "", log)
	saved.Data, saved.SavedAt = roles("B"), saved.SavedAt.Add(time.Second)
	if err := saved.store(b.dir, awsAuthName); err != nil {
		t.Fatal(err)
	}
	b.stop()
	if now := loadTable(b.dir, awsAuthName, "", log); now.Data["mapRoles"] != roles("B")["mapRoles"] {
		t.Errorf("saved: %+v", now)
	}
	_, err1 := os.Stat(old)
	_, err2 := os.Stat(fresh)
	if !os.IsNotExist(err1) || err2 != nil {
		t.Errorf("left over: %v; still written: %v", err1, err2)
	}
}
