package backend

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/mapping"
)

// dynamicBench is a DynamicFile backend that looks when it is told to.
type dynamicBench struct {
	bench
	path string
	tick chan time.Time
}

func newDynamicBench(t *testing.T) *dynamicBench {
	b := &dynamicBench{
		bench: bench{t: t, clock: &clock{now: time.Now()}, metrics: metrics.New()},
		path:  filepath.Join(t.TempDir(), "mappings.json"), tick: make(chan time.Time),
	}
	b.store = NewStore([]string{mapping.BackendDynamicFile}, StoreOptions{Partition: "aws", Metrics: b.metrics})
	return b
}

// start begins to follow the file, and has looked once when it returns.
func (b *dynamicBench) start() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	b.t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() {
		FollowDynamic(ctx, DynamicOptions{
			Path: b.path, Store: b.store, Grace: time.Hour, Log: slog.New(slog.DiscardHandler),
			Metrics: b.metrics, Now: b.clock.Now, Tick: b.tick,
		})
	})
	b.tick <- time.Time{}
}

// write puts a text in the file's place, and has it looked at.
func (b *dynamicBench) write(text string) {
	b.t.Helper()
	b.place(text)
	b.look()
}

// place puts a text in the file's place.
func (b *dynamicBench) place(text string) {
	b.t.Helper()
	tmp := b.path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(tmp, b.path); err != nil {
		b.t.Fatal(err)
	}
}

// remove removes the file, and has that seen.
func (b *dynamicBench) remove() {
	b.t.Helper()
	if err := os.Remove(b.path); err != nil {
		b.t.Fatal(err)
	}
	b.look() // which sees that it is missing
	b.look() // and that it still is
}

// look takes two ticks: when the second is taken, what the first found is in force.
func (b *dynamicBench) look() { b.tick <- time.Time{}; b.tick <- time.Time{} }

// said returns all that is wrong.
func (b *dynamicBench) said() string {
	st := b.store.Status()[0]
	lines := []string{st.Problem}
	for _, f := range st.Findings {
		lines = append(lines, f.Severity.String()+" "+f.String())
	}
	return strings.Join(lines, "\n")
}

// goodDynamic maps role R to u.
var goodDynamic = `{"mapRoles":[{"rolearn":"` + role("p/R") + `","username":"u","groups":["g"]}],"mapUsers":[],"mapAccounts":["444455556666"],"Version":"x","LastUpdatedDateTime":"1700000000"}`

func TestDynamicFile(t *testing.T) {
	t.Parallel()
	b := newDynamicBench(t)
	b.start()
	if got := b.username(role("R")); got != "nobody" {
		t.Errorf("without a file: %s", got)
	}
	b.write(goodDynamic)
	if got := b.username(role("R")); got != "u" || b.said() != "" {
		t.Errorf("got %s, %s", got, b.said())
	}
	for name, bad := range map[string]string{
		"no ARN":    `{"mapRoles":[{"username":"x"}]}`,
		"sso":       `{"mapRoles":[{"sso":{"accountID":"111122223333"},"rolearn":"x"}]}`,
		"truncated": goodDynamic[:40],
		"empty":     ``,
		"YAML":      "mapRoles: []",
		"bad type":  `{"mapRoles":[{"rolearn":"` + role("R") + `","username":5}]}`,
		"more":      goodDynamic + goodDynamic,
	} {
		b.write(bad)
		if got := b.username(role("R")); got != "u" || b.store.Status()[0].Problem == "" {
			t.Errorf("%s: %s, problem %q", name, got, b.store.Status()[0].Problem)
		}
	}
	b.write(goodDynamic)
	if said := b.said(); said != "" {
		t.Errorf("mended, and yet %s", said)
	}
}

// An entry that is wrong keeps what was good; its neighbours count.
func TestDynamicEntryKeepsWhatWasGood(t *testing.T) {
	t.Parallel()
	const other = `{"rolearn":"arn:aws:iam::111122223333:role/Other","username":"other"}`
	b := newDynamicBench(t)
	b.place(goodDynamic)
	b.start()
	for name, tc := range map[string]struct{ entry, says string }{
		"junk ARN":         {`{"rolearn":"junk","username":"u","groups":["g"]}`, "error mapRoles[0].arn: "},
		"empty username":   {`{"rolearn":"` + role("R") + `","username":"","groups":["g"]}`, "error mapRoles[0].username: missing"},
		"no username":      {`{"rolearn":"` + role("R") + `","groups":["g"]}`, "error mapRoles[0].username: missing"},
		"unknown variable": {`{"rolearn":"` + role("R") + `","username":"{{Foo}}"}`, "unknown variable {{Foo}}"},
		"empty group":      {`{"rolearn":"` + role("R") + `","username":"x","groups":[""]}`, "error mapRoles[0].groups[0]: empty"},
		"null group":       {`{"rolearn":"` + role("R") + `","username":"x","groups":[null]}`, "error mapRoles[0].groups[0]: empty"},
		"misspelt groups":  {`{"rolearn":"` + role("R") + `","username":"x","group":["g"]}`, `error mapRoles[0].groups: none, where there were some before, and the field "group" is unknown`},
		"null groups":      {`{"rolearn":"` + role("R") + `","username":"x","groups":null}`, `"groups" has nothing after it`},
	} {
		b.write(`{"mapRoles":[` + tc.entry + `,` + other + `],"mapUsers":[],"mapAccounts":[]}`)
		if got := b.username(role("R")); got != "u" || !strings.Contains(b.said(), tc.says) || !strings.Contains(b.said(), "the last good one stays in force") {
			t.Errorf("%s: %s, said: %s", name, got, b.said())
		}
		if got := b.username(role("Other")); got != "other" || b.healthy(mapping.BackendDynamicFile) {
			t.Errorf("%s: the neighbour is %s, healthy %v", name, got, b.healthy(mapping.BackendDynamicFile))
		}
		b.write(goodDynamic)
		if got := b.said(); got != "" || !b.healthy(mapping.BackendDynamicFile) {
			t.Errorf("%s: mended, and yet %s", name, got)
		}
	}
	// Who is taken out in the same edit is out.
	b.write(`{"mapRoles":[` + other + `,{"rolearn":"` + role("R") + `","username":"u","groups":["g"]}],"mapUsers":[],"mapAccounts":[]}`)
	b.write(`{"mapRoles":[{"rolearn":"` + role("R") + `","username":""}],"mapUsers":[],"mapAccounts":[]}`)
	if r, o := b.username(role("R")), b.username(role("Other")); r != "u" || o != "nobody" {
		t.Errorf("R is %s, the other, who is gone, is %s", r, o)
	}
	// No groups are meant, and so is the removal.
	b.write(`{"mapRoles":[{"rolearn":"` + role("R") + `","username":"new","groups":[]},` + other + `],"mapUsers":[],"mapAccounts":[]}`)
	if got := b.username(role("R")); got != "new" || b.said() != "" {
		t.Errorf("without groups: %s, %s", got, b.said())
	}
	b.write(`{"mapRoles":[` + other + `],"mapUsers":[],"mapAccounts":[]}`)
	if got := b.username(role("R")); got != "nobody" || b.said() != "" {
		t.Errorf("removed: %s, %s", got, b.said())
	}
}

// What is gone without a word stays for the grace time, and what is said to be
// empty does not.
func TestDynamicFileEmptied(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, says string }{
		"empty object": {`{}`, "mapRoles of "},
		"null":         {`null`, "has been emptied (write [] if nobody is meant); its last entries stay in force until"},
		"null list":    {`{"mapRoles":null,"mapUsers":[],"mapAccounts":["444455556666"]}`, "its last entries stay in force until"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newDynamicBench(t)
			b.place(goodDynamic)
			b.start()
			b.write(tc.text)
			if got := b.username(role("R")); got != "u" || !strings.Contains(b.said(), tc.says) || b.healthy(mapping.BackendDynamicFile) {
				t.Errorf("%s, said: %s", got, b.said())
			}
			b.clock.advance(59 * time.Minute)
			b.look()
			if got := b.username(role("R")); got != "u" {
				t.Errorf("within the grace time: %s", got)
			}
			b.clock.advance(2 * time.Minute)
			b.look()
			if got := b.username(role("R")); got != "nobody" || !strings.Contains(b.said(), "nobody is mapped by it") {
				t.Errorf("after the grace time: %s, %s", got, b.said())
			}
			b.write(goodDynamic)
			if got := b.username(role("R")); got != "u" || b.said() != "" {
				t.Errorf("put back: %s, %s", got, b.said())
			}
		})
	}
	b := newDynamicBench(t)
	b.place(goodDynamic)
	b.start()
	b.write(`{"mapRols":[],"note":1,"mapUsers":[],"mapAccounts":[]}`)
	b.clock.advance(2 * time.Hour) // it is a mistake, and not for a time
	b.look()
	if got := b.username(role("R")); got != "u" || !strings.Contains(b.said(), "error mapRols: not read: the key is spelled mapRoles; the last good one stays in force") ||
		!strings.Contains(b.said(), "warning note: unknown key, not read") {
		t.Errorf("misspelt: %s, %s", got, b.said())
	}
	b.write(`{"mapRoles":[],"mapUsers":[],"mapAccounts":[]}`)
	if got := b.username(role("R")); got != "nobody" || b.said() != "" {
		t.Errorf("nobody is meant: %s, %s", got, b.said())
	}
}

// A list in which nothing makes sense any more counts as emptied, and what is wrong
// with it is said.
func TestDynamicListDamaged(t *testing.T) {
	t.Parallel()
	const account = "arn:aws:iam::444455556666:role/X"
	for name, tc := range map[string]struct {
		text, arn, username, says string
	}{
		"account":      {strings.Replace(goodDynamic, `"444455556666"`, `"77778888999"`, 1), account, account, `error mapAccounts[0]: "77778888999" is not an account's twelve digits`},
		"another role": {strings.Replace(goodDynamic, role("p/R"), "arn:aws:iam::1:role/Else", 1), role("R"), "u", "error DynamicFile: mapRoles[0].arn: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newDynamicBench(t)
			b.place(goodDynamic)
			b.start()
			b.write(strings.Replace(tc.text, `"username":"u"`, `"username":"else"`, 1))
			if got := b.username(tc.arn); got != tc.username || !strings.Contains(b.said(), tc.says) || !strings.Contains(b.said(), "stay in force until") {
				t.Errorf("%s, said: %s", got, b.said())
			}
			b.clock.advance(2 * time.Hour)
			b.look()
			if got := b.username(tc.arn); got != "nobody" || !strings.Contains(b.said(), tc.says) {
				t.Errorf("after the grace time: %s, said: %s", got, b.said())
			}
		})
	}
}

// How old the first content is says nothing about how long a change takes.
func TestDynamicLatencyIsOfChanges(t *testing.T) {
	t.Parallel()
	b := newDynamicBench(t)
	b.place(goodDynamic)
	b.start()
	if n := b.latencies(); n != 0 {
		t.Errorf("%d latencies after the first load", n)
	}
	b.write(goodDynamic + "\n")
	if n := b.latencies(); n != 1 {
		t.Errorf("%d latencies after a change", n)
	}
}

// latencies returns how many changes' latencies were observed.
func (b *dynamicBench) latencies() uint64 {
	b.t.Helper()
	families, err := b.metrics.Gatherer().Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	var n uint64
	for _, f := range families {
		if f.GetName() == "aws_iam_authenticator_dynamic_e2e_latency_seconds" {
			for _, m := range f.GetMetric() {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

func FuzzParseDynamic(f *testing.F) {
	f.Add([]byte(`{"mapRoles":[{"rolearn":"a","username":"u"}],"mapAccounts":["1"]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, _, err := parseDynamic(data, false)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Errorf("accepted what is no JSON: %q", data)
		}
		for _, e := range m.Mappings.Roles {
			if e.ARN == "" {
				t.Error("an entry without an ARN")
			}
		}
	})
}
