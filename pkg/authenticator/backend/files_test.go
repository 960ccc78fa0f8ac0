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

func TestDynamicFile(t *testing.T) {
	t.Parallel()
	good := `{"mapRoles":[{"rolearn":"` + role("p/R") + `","username":"u","groups":["g"]}],"Version":"x","LastUpdatedDateTime":"1700000000"}`
	path := filepath.Join(t.TempDir(), "mappings.json")
	b := &bench{t: t, store: NewStore([]string{mapping.BackendDynamicFile}, StoreOptions{Partition: "aws"})}
	tick := make(chan time.Time)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	write := func(text string) {
		t.Helper()
		tmp := path + ".new"
		if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, path); err != nil {
			t.Fatal(err)
		}
	}
	// Two ticks: when the second is taken, what the first found is in force.
	look := func() { tick <- time.Time{}; tick <- time.Time{} }
	wg.Go(func() {
		FollowDynamic(ctx, path, false, b.store, metrics.New(), slog.New(slog.DiscardHandler), tick)
	})
	tick <- time.Time{}
	if got := b.username(role("R")); got != "nobody" {
		t.Errorf("without a file: %s", got)
	}
	write(good)
	look()
	if got := b.username(role("R")); got != "u" {
		t.Errorf("got %s", got)
	}
	for name, bad := range map[string]string{
		"no ARN":    `{"mapRoles":[{"username":"x"}]}`,
		"sso":       `{"mapRoles":[{"sso":{"accountID":"111122223333"},"rolearn":"x"}]}`,
		"truncated": good[:40],
		"empty":     ``,
		"YAML":      "mapRoles: []",
		"bad type":  `{"mapRoles":[{"rolearn":"` + role("R") + `","username":5}]}`,
		"more":      good + good,
	} {
		write(bad)
		look()
		if got := b.username(role("R")); got != "u" || b.store.Status()[0].Problem == "" {
			t.Errorf("%s: %s, problem %q", name, got, b.store.Status()[0].Problem)
		}
	}
	write(good)
	look()
	if p := b.store.Status()[0].Problem; p != "" {
		t.Errorf("problem %q", p)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	look()
	tick <- time.Time{}
	if got := b.username(role("R")); got != "nobody" {
		t.Errorf("deleted: %s", got)
	}
}

func TestMountedFileIsFollowed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	b := &bench{t: t, store: NewStore([]string{mapping.BackendMountedFile}, StoreOptions{Partition: "aws"})}
	write := func(user, arn string) {
		if err := os.WriteFile(path, []byte("clusterID: c\nserver:\n  mapRoles:\n  - rolearn: "+arn+"\n    username: "+user+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first", role("A"))
	b.store.Set(mapping.BackendMountedFile, mapping.Mappings{Roles: []mapping.Entry{{ARN: role("A"), Username: "first"}}}, nil, "")
	tick := make(chan time.Time)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() { FollowMounted(ctx, path, "aws", b.store, tick) })
	tick <- time.Time{}
	write("second", role("A"))
	tick <- time.Time{}
	tick <- time.Time{}
	if got := b.username(role("A")); got != "second" {
		t.Errorf("got %s", got)
	}
	write("third", "junk-arn-of-another-length")
	tick <- time.Time{}
	tick <- time.Time{}
	if got := b.username(role("A")); got != "second" || !strings.Contains(b.store.Status()[0].Problem, "junk") {
		t.Errorf("got %s, %+v", got, b.store.Status())
	}
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
		for _, e := range m.Roles {
			if e.ARN == "" {
				t.Error("an entry without an ARN")
			}
		}
	})
}
