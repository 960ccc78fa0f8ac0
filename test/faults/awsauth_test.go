package faults_test

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/mapping"
)

const healthy = `backend_healthy{backend="EKSConfigMap"}`

// TestAWSAuthBroken: an aws-auth that makes no sense takes nobody's access away,
// says so wherever an administrator may look, and mends itself.
func TestAWSAuthBroken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	logins := w.keepLoggingIn(t, staff()...)
	began := time.Now()
	good := table(append(staff(), leaver)...)

	for _, tc := range []struct {
		name string
		data map[string]string
		says string
	}{
		{"YAML error", with(good, "mapRoles", good["mapRoles"]+"\n- : [\n"), "mapRoles"},
		{"unquoted template", with(good, "mapRoles", edited(t, good["mapRoles"], "user:Paula", "{{SessionName}}")), "mapRoles"},
		{"another type", with(good, "mapRoles", "rolearn: "+paula.arn().String()), "mapRoles"},
		{"name of another type", with(good, "mapRoles", edited(t, good["mapRoles"], "user:Rosa", "[1, 2]")), "username"},
		{"emptied", map[string]string{}, "emptied"},
		{"emptied key", map[string]string{"mapRoles": ""}, "emptied"},
		{"emptied key beside another", map[string]string{"mapRoles": "", "mapUsers": "[]"}, "emptied"},
		{"removed key beside another", map[string]string{"mapUsers": "[]"}, "emptied"},
		{"misspelt key", map[string]string{"maproles": good["mapRoles"], "mapUsers": "[]"}, "the key is spelled mapRoles"},
		{"misspelt groups", with(good, "mapRoles", strings.ReplaceAll(good["mapRoles"], "groups:", "group:")), "the last good one stays in force"},
	} {
		w.step(tc.name, func(t *testing.T) {
			w.setAWSAuth(tc.data)
			w.waitReadyz(tc.says)
			w.waitMetric(healthy, isZero)
			logins.nobodyWasRefused(began)
			w.mustBeGranted(leaver)

			w.setAWSAuth(good)
			w.waitMetric(healthy, isOne)
			logins.nobodyWasRefused(began)
		})
	}
	w.step("events", func(t *testing.T) {
		w.setAWSAuth(with(good, "mapRoles", "broken: ["))
		w.waitEvent("Warning", "MappingNotHonoured", "mapRoles")
		w.waitMetric(`mapping_findings{backend="EKSConfigMap",severity="error"}`, positive)
		w.setAWSAuth(table(append(staff(), joiner)...))
		t.Logf("mended: whoever came with that is in after %s", milliseconds(w.untilGranted(joiner)))
		w.mustBeRefused(leaver)
		w.waitEvent("Normal", "MappingsInOrder", "")
		w.waitMetric(`mapping_findings{backend="EKSConfigMap",severity="error"}`, isZero)
		logins.nobodyWasRefused(began)
	})
	w.step("authenticator restarted with a broken aws-auth", func(t *testing.T) {
		w.setAWSAuth(with(good, "mapRoles", "broken: ["))
		w.waitMetric(healthy, isZero)
		w.authenticator.stop()
		w.startAuthenticator()
		w.waitReadyz("mapRoles")
		w.waitMetric(healthy, isZero)
		// What was good last had the joiner and not the leaver.
		w.mustBeGranted(append(staff(), joiner)...)
		w.mustBeRefused(leaver)
		w.setAWSAuth(good)
		w.untilGranted(leaver)
		w.mustBeRefused(joiner)
	})
	w.step("nobody is meant", func(*testing.T) {
		w.setAWSAuth(map[string]string{"mapRoles": "[]"})
		w.untilRefused(leaver)
		w.waitMetric(healthy, isOne)
		w.setAWSAuth(good)
		w.untilGranted(leaver)
	})
}

// TestAWSAuthDeleted: the entries of a deleted aws-auth stay in force for the
// grace time, over a restart too, and end with it.
func TestAWSAuthDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	logins := w.keepLoggingIn(t, staff()...)
	began := time.Now()

	w.step("deleted and put back", func(t *testing.T) {
		w.deleteAWSAuth()
		w.waitReadyz("does not exist; its last entries stay in force until")
		w.waitMetric(healthy, isZero)
		w.mustBeGranted(leaver)
		w.setAWSAuth(table(append(staff(), leaver)...))
		w.waitMetric(healthy, isOne)
		logins.nobodyWasRefused(began)
	})
	w.step("grace time ends", func(t *testing.T) {
		const grace = 10 * time.Second
		w.authenticator.stop()
		w.startAuthenticator("--aws-auth-grace-period=" + grace.String())
		steady := time.Now()
		logins.everybodyGetsIn(steady)
		deleted := time.Now()
		w.deleteAWSAuth()
		w.waitReadyz("does not exist; its last entries stay in force until")
		// The grace time goes on while the authenticator is away.
		w.authenticator.stop()
		w.startAuthenticator("--aws-auth-grace-period=" + grace.String())
		w.untilRefused(leaver)
		if took := time.Since(deleted); took < grace {
			t.Errorf("refused %s after the deletion, before the grace time of %s is over", took, grace)
		}
		w.waitReadyz("nobody is mapped by it")
		w.setAWSAuth(table(append(staff(), leaver)...))
		back := time.Now()
		t.Logf("put back: everybody is in after %s", milliseconds(logins.everybodyGetsIn(back)))
	})
}

// TestAWSAuthLargeAndBusy: neither 10,000 entries nor 50 changes a second get in
// the way of those who stay mapped, and the newest change counts.
func TestAWSAuthLargeAndBusy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	logins := w.keepLoggingIn(t, staff()...)
	began := time.Now()

	w.step("10,000 entries", func(t *testing.T) {
		m := mappings(staff()...)
		for i := len(m.Roles); i < 9_999; i++ {
			m.Roles = append(m.Roles, mapping.Entry{ARN: fmt.Sprintf("arn:aws:iam::%s:role/R%d", account, i), Username: "u"})
		}
		m.Roles = append(m.Roles, joiner.entry())
		w.setAWSAuth(mapping.Encode(m))
		w.awsAuthIsProtobuf(t, mapping.Encode(m))
		t.Logf("the last entry is in force after %s", milliseconds(w.untilGranted(joiner)))
		w.waitMetric("mappings", func(n float64) bool { return n == 10_000 })
		w.mustBeRefused(leaver)
		now, most := memory(t, w.authenticator.pid())
		t.Logf("memory: %d MiB, %d at most", now>>20, most>>20)
		if most > memoryLimit {
			t.Errorf("memory: %d MiB", most>>20)
		}
		logins.nobodyWasRefused(began)
	})
	w.step("rewritten 50 times a second", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), floodFor)
		defer cancel()
		ticker := time.NewTicker(time.Second / 50)
		defer ticker.Stop()
		writes := 0
		for ctx.Err() == nil {
			people := staff()
			if writes++; writes%2 == 0 {
				people = append(people, leaver)
			}
			w.setAWSAuth(table(people...))
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
		w.setAWSAuth(table(append(staff(), joiner)...))
		last := time.Now()
		w.untilGranted(joiner)
		w.mustBeRefused(leaver)
		t.Logf("%d writes; the last counts after %s", writes, milliseconds(time.Since(last)))
		logins.nobodyWasRefused(began)
	})
}

// with returns the data with one key replaced.
func with(data map[string]string, key, value string) map[string]string {
	data = maps.Clone(data)
	data[key] = value
	return data
}

// edited puts something else in place of a username, without quotes.
func edited(t *testing.T, s, from, to string) string {
	t.Helper()
	re := regexp.MustCompile(`username: ['"]?` + regexp.QuoteMeta(from) + `['"]?`)
	if !re.MatchString(s) {
		t.Fatalf("no username %s in\n%s", from, s)
	}
	return re.ReplaceAllLiteralString(s, "username: "+to)
}
