package stssim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestThrottlingLooksLikeSTSs(t *testing.T) {
	t.Parallel()
	server := New(newTestState(t), Options{})
	server.SetFaults(Faults{{Kind: FaultThrottle}})
	for accept, want := range map[string][]string{
		"application/json": {`"Code":"Throttling"`, `"Message":"Rate exceeded"`, `"Type":"Sender"`, `"RequestId":"`},
		"":                 {"<Code>Throttling</Code>", "<Message>Rate exceeded</Message>", "<Type>Sender</Type>", "<RequestId>", `xmlns="https://sts.amazonaws.com/doc/2011-06-15/"`},
	} {
		r := httptest.NewRequest("GET", "/?"+getCallerIdentity, nil)
		r.Host = regionHost
		r.Header.Set("Accept", accept)
		rec := httptest.NewRecorder()
		server.ServeHTTP(rec, r)
		if rec.Code != 400 {
			t.Errorf("%q: status %d, want 400", accept, rec.Code)
		}
		for _, part := range want {
			if !strings.Contains(rec.Body.String(), part) {
				t.Errorf("%q: no %s in %s", accept, part, rec.Body)
			}
		}
	}
}

func TestFaultsPick(t *testing.T) {
	t.Parallel()
	c := newClock()
	hits := func(set *faultSet, host, action string, n int) (pattern string) {
		for range n {
			if _, ok := set.pick(host, action); ok {
				pattern += "x"
			} else {
				pattern += "."
			}
		}
		return pattern
	}
	for name, test := range map[string]struct {
		fault Fault
		want  string
	}{
		"always":        {Fault{}, "xxxxxx"},
		"next two":      {Fault{Next: 2}, "xx...."},
		"a third":       {Fault{Share: 0.34}, "..x..x"},
		"half, once":    {Fault{Share: 0.5, Next: 1}, ".x...."},
		"all":           {Fault{Share: 1}, "xxxxxx"},
		"two a second":  {Fault{PerSecond: 2}, "..xxxx"},
		"other host":    {Fault{Host: "sts.amazonaws.com"}, "......"},
		"other action":  {Fault{Action: "AssumeRole"}, "......"},
		"this host":     {Fault{Host: regionHost, Action: "GetCallerIdentity"}, "xxxxxx"},
		"every request": {Fault{Share: 1, PerSecond: 0, Next: 0}, "xxxxxx"},
	} {
		set := &faultSet{clock: c.now}
		set.set(Faults{test.fault})
		if got := hits(set, regionHost, "GetCallerIdentity", 6); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	set := &faultSet{clock: c.now}
	set.set(Faults{{PerSecond: 2}})
	if got := hits(set, regionHost, "", 4); got != "..xx" {
		t.Errorf("at first %s", got)
	}
	c.add(500 * time.Millisecond)
	if got := hits(set, regionHost, "", 2); got != ".x" {
		t.Errorf("half a second later %s", got)
	}
}

func TestFaultsOnTheNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issuer := w.state.IssuerURL(account)
	keys := issuer + "/.well-known/jwks.json"
	get := func() (int, int, error) {
		res, err := w.client.Get(keys)
		if err != nil {
			return 0, 0, err
		}
		defer res.Body.Close()
		n, err := io.Copy(io.Discard, res.Body)
		return res.StatusCode, int(n), err
	}
	host := strings.TrimPrefix(issuer, "https://")

	w.server.SetFaults(Faults{{Kind: FaultDrop, Host: host, Action: ActionKeys}})
	if _, _, err := get(); err == nil {
		t.Error("a dropped connection gave an answer")
	}
	w.server.SetFaults(Faults{{Kind: FaultHuge, Action: ActionKeys, Size: 3 << 20}})
	if status, n, err := get(); status != 200 || n != 3<<20 || err != nil {
		t.Errorf("huge: %d, %d bytes, %v", status, n, err)
	}
	w.server.SetFaults(Faults{{Kind: FaultStatus, Status: 503, Body: "gone"}})
	if status, n, _ := get(); status != 503 || n != 4 {
		t.Errorf("status: %d, %d bytes", status, n)
	}
	w.server.SetFaults(Faults{{Kind: FaultGarbage}})
	if status, _, _ := get(); status != 200 {
		t.Errorf("garbage: %d", status)
	}
	w.server.SetFaults(Faults{{Kind: FaultDelay, Delay: time.Millisecond}})
	if status, _, err := get(); status != 200 || err != nil {
		t.Errorf("delay: %d, %v", status, err)
	}
	w.server.SetFaults(nil)
	if status, _, err := get(); status != 200 || err != nil {
		t.Errorf("without faults: %d, %v", status, err)
	}
	calls := w.server.Calls()
	if calls.Actions[ActionKeys] < 6 || calls.Faults < 4 || calls.Connections == 0 {
		t.Errorf("counters %+v", calls)
	}
}

func TestFaultsFromJSON(t *testing.T) {
	t.Parallel()
	var f Faults
	if err := json.Unmarshal([]byte(`[{"kind":"throttle","next":3,"delay":1000000}]`), &f); err != nil {
		t.Fatal(err)
	}
	if f[0].Kind != FaultThrottle || f[0].Next != 3 || f[0].Delay != time.Millisecond {
		t.Errorf("%+v", f)
	}
	if err := json.Unmarshal([]byte(`[{"kind":"throtle"}]`), &f); err == nil {
		t.Error("a kind that does not exist was taken")
	}
}

// TestChangesWhileServing is for the race detector.
func TestChangesWhileServing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.state.Ensure(Identity{Profile: "alice", ARN: mustARN(t, "arn:aws:iam::111122223333:user/Alice")})
	w.state.IssuerURL(otherAccount)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 5 {
				if _, err := w.sts(region, user).GetCallerIdentity(t.Context(), nil); err != nil {
					t.Error(err)
				}
				res, err := w.client.Get(w.state.IssuerURL(account) + "/.well-known/jwks.json")
				if err != nil {
					t.Error(err)
					continue
				}
				_ = res.Body.Close()
			}
		})
		all.Go(func() {
			for j := range 5 {
				name := "arn:aws:iam::444455556666:role/R" + string(rune('a'+i)) + string(rune('a'+j))
				w.state.Ensure(Identity{Profile: "p", ARN: mustARN(t, name)})
				w.server.SetFaults(Faults{{Kind: FaultThrottle, Action: "AssumeRole"}})
				w.server.Calls()
				w.server.Names()
				if _, err := w.state.MarshalJSON(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := w.server.Calls().Actions["GetCallerIdentity"]; n != 20 {
		t.Errorf("%d calls counted, want 20", n)
	}
	if res, err := w.client.Get("https://" + regionHost + "/"); err != nil || res.StatusCode != http.StatusBadRequest {
		t.Errorf("a request without an action: %v %v", res, err)
	}
}
