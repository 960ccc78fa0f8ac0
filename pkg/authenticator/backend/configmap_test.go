package backend

import (
	"strings"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/mapping"
)

// A key that is emptied or removed is to the others as aws-auth is to itself.
func TestEmptiedKeyHasGrace(t *testing.T) {
	t.Parallel()
	const user, users = "arn:aws:iam::111122223333:user/U", "- userarn: arn:aws:iam::111122223333:user/U\n  username: u\n"
	with := func(data map[string]string) map[string]string { data["mapUsers"] = users; return data }
	for name, emptied := range map[string]map[string]string{
		"removed":  {},
		"blank":    {"mapRoles": ""},
		"comments": {"mapRoles": "# - rolearn: " + role("A") + "\n"},
		"null":     {"mapRoles": "null\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.awsAuth(with(roles("A")))
			b.start(mapping.BackendEKSConfigMap)
			b.becomes(user, "u")
			b.awsAuth(with(emptied))
			b.eventually("it is said", func() bool {
				return strings.Contains(b.store.Status()[0].Problem, "mapRoles of the ConfigMap kube-system/aws-auth has been emptied (write [] if nobody is meant); its last entries stay in force until") &&
					!b.healthy(mapping.BackendEKSConfigMap)
			})
			b.eventually("an event", func() bool { return len(b.kube.Under(eventsPath)) > 0 })
			if a, u := b.username(role("A")), b.username(user); a != "a" || u != "u" {
				t.Errorf("A is %s, U is %s", a, u)
			}
			// Others' changes count, and do not begin the time anew; nor does a
			// restart, or one without the API server.
			b.clock.advance(50 * time.Minute)
			b.awsAuth(map[string]string{"mapUsers": users + strings.ReplaceAll(users, "U", "V")})
			b.becomes(strings.ReplaceAll(user, "U", "V"), "u")
			b.stop()
			b.start(mapping.BackendEKSConfigMap)
			b.becomes(role("A"), "a")
			b.stop()
			b.clock.advance(11 * time.Minute)
			b.kube.Refuse(503)
			b.start(mapping.BackendEKSConfigMap)
			b.becomes(role("A"), "nobody")
			b.becomes(user, "u")
			b.kube.Refuse(0)
			b.awsAuth(with(roles("A")))
			b.becomes(role("A"), "a")
			b.eventually("healthy", func() bool { return b.healthy(mapping.BackendEKSConfigMap) })
		})
	}
}

// Who is taken out is out: as one of several, and as the last one with an empty
// list, which is what capiam writes.
func TestRemovalCountsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	live := roles("A", "B")
	b.awsAuth(live)
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(role("A"), "a")
	applied, _ := mapping.Parse(live)
	before := applied.Mappings()
	for _, gone := range []string{"A", "B"} {
		after := mapping.Mappings{Roles: before.Roles[1:]}
		table, _ := mapping.Parse(live)
		var err error
		if live, err = mapping.NewPlan(before, after, table).Apply(); err != nil {
			t.Fatal(err)
		}
		b.awsAuth(live)
		b.becomes(role(gone), "nobody")
		if st := b.store.Status()[0]; st.Problem != "" || len(st.Findings) > 0 {
			t.Errorf("without %s: %+v", gone, st)
		}
		before = after
	}
}

func TestMisspeltKeyKeepsWhatWasGood(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.awsAuth(roles("A"))
	b.start(mapping.BackendEKSConfigMap)
	b.becomes(role("A"), "a")
	b.awsAuth(map[string]string{"maproles": roles("B")["mapRoles"], "mapUsers": "- userarn: arn:aws:iam::111122223333:user/U\n  username: u\n"})
	b.becomes("arn:aws:iam::111122223333:user/U", "u")
	b.clock.advance(2 * time.Hour) // it is a mistake, and not for a time
	b.stop()
	b.start(mapping.BackendEKSConfigMap)
	b.becomes("arn:aws:iam::111122223333:user/U", "u")
	if a, other := b.username(role("A")), b.username(role("B")); a != "a" || other != "nobody" {
		t.Errorf("A is %s, B is %s", a, other)
	}
	b.eventually("an event", func() bool { return len(b.kube.Under(eventsPath)) > 0 })
	if b.healthy(mapping.BackendEKSConfigMap) {
		t.Error("healthy")
	}
	b.awsAuth(roles("B"))
	b.becomes(role("A"), "nobody")
}
