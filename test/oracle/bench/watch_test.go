package main

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/mapping"
)

// TestOracleWatch: what events of aws-auth do to those who were mapped, in the
// original and in ours.
func TestOracleWatch(t *testing.T) {
	data, err := os.ReadFile("../../../pkg/mapping/testdata/aws-auth-parsing.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ ID string }
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	const (
		roleGood, roleNew = "arn:aws:iam::111122223333:role/Good", "arn:aws:iam::111122223333:role/New"
		matlan, nic       = "arn:aws:iam::111122223333:user/matlan", "arn:aws:iam::111122223333:user/nic"
		users             = "- userarn: " + nic + "\n  username: nic\n"
	)
	before := map[string]string{mapping.MapRoles: good, mapping.MapUsers: "- userarn: " + matlan + "\n  username: matlan\n" + users}
	// marked is a change with something new in it, by which it is seen.
	marked := func(roles string) map[string]string {
		return map[string]string{mapping.MapRoles: roles, mapping.MapUsers: users + "- userarn: arn:aws:iam::111122223333:user/new\n  username: new\n"}
	}
	const marker = "arn:aws:iam::111122223333:user/new"
	steps := map[string]func(t *testing.T, s *side, theirs bool){
		"cm-watch-add": func(t *testing.T, s *side, _ bool) {
			for _, arn := range []string{roleGood, matlan, nic} {
				knows(t, s, arn, true)
			}
		},
		"cm-watch-mod": func(t *testing.T, s *side, _ bool) {
			change(t, s, marked("- rolearn: "+roleNew+"\n  username: new\n"))
			knows(t, s, marker, true)
			for arn, want := range map[string]bool{nic: true, roleNew: true, roleGood: false, matlan: false} {
				if s.knows(arn) != want {
					t.Errorf("%s: %s: known is %v", s.name, arn, !want)
				}
			}
		},
		// Ours keeps the last good entries.
		"cm-watch-bad": func(t *testing.T, s *side, theirs bool) {
			change(t, s, marked("- rolearn: ["))
			knows(t, s, marker, true)
			if s.knows(roleGood) == theirs {
				t.Errorf("%s: known is %v", s.name, theirs)
			}
			change(t, s, before)
			knows(t, s, marker, false)
			knows(t, s, roleGood, true)
		},
		// Ours keeps them for a grace time: backend: TestDeletedAWSAuthHasGrace.
		"cm-watch-del": func(t *testing.T, s *side, theirs bool) {
			if !theirs {
				return
			}
			deleted, err := s.api.event("DELETED", before)
			if err != nil {
				t.Fatal(err)
			}
			s.api.events <- deleted
			knows(t, s, roleGood, false)
		},
	}
	for _, c := range cases {
		step, ok := steps[c.ID]
		if !ok {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			var ended []chan struct{}
			for _, start := range []func(context.Context, string) (*side, error){startTheirs, startOurs} {
				s, err := start(ctx, t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(s.api.close)
				if s.ended != nil {
					ended = append(ended, s.ended)
				}
				change(t, s, before)
				knows(t, s, matlan, true)
				step(t, s, s.name != "capiam")
			}
			// Before the API servers end, and the directories go that are written to.
			t.Cleanup(func() {
				cancel()
				for _, c := range ended {
					<-c
				}
			})
		})
		delete(steps, c.ID)
	}
	for id := range steps {
		t.Errorf("%s has no case", id)
	}
}

// change sends a state of aws-auth to whoever watches.
func change(t *testing.T, s *side, data map[string]string) {
	t.Helper()
	send, err := s.api.prepare(data)
	if err == nil {
		err = send(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// knows waits until an ARN is mapped, or is not any more.
func knows(t *testing.T, s *side, arn string, want bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); s.knows(arn) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s: known is not %v", s.name, arn, want)
		}
	}
}
