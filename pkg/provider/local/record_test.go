package local

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func testRecord(t *testing.T, s *Store, name string) *Record {
	t.Helper()
	ports, err := s.ChoosePorts(0)
	if err != nil {
		t.Fatal(err)
	}
	return &Record{
		Name: name, Namespace: "default", ClusterID: name + "-id", Partition: "aws", Region: "us-west-2",
		BackendMode: []string{"EKSConfigMap", "CRD"}, OutputDir: filepath.Join(s.Root, "out"), Ports: ports,
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	s := &Store{Root: t.TempDir()}
	l := s.Layout("c1")
	if _, err := ReadRecord(l); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `"c1"`) {
		t.Errorf("got %v, want %v", err, ErrNotFound)
	}
	record := testRecord(t, s, "c1")
	if err := WriteRecord(l, record); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get("c1")
	if err != nil || got.ClusterID != record.ClusterID || got.Ports != record.Ports || !got.Created.Equal(record.Created) || !got.Completed.IsZero() || !slices.Equal(got.BackendMode, record.BackendMode) {
		t.Errorf("got %+v, %v; want %+v", got, err, record)
	}
	if info, err := os.Stat(l.Record()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	args := strings.Join(record.AuthenticatorArgs(l), " ")
	if !strings.Contains(args, "--backend-mode=EKSConfigMap,CRD ") || !strings.Contains(args, l.AuthenticatorConfig()) {
		t.Errorf("arguments %s", args)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	s := &Store{Root: filepath.Join(t.TempDir(), "clusters")}
	if records, err := s.List(); err != nil || len(records) != 0 {
		t.Errorf("got %v, %v of no directory", records, err)
	}
	for _, name := range []string{"b", "a"} {
		if err := WriteRecord(s.Layout(name), testRecord(t, s, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(s.Layout("empty").Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := s.Layout("damaged")
	if err := os.MkdirAll(damaged.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(damaged.Record(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	records, err := s.List()
	if len(records) != 2 || records[0].Name != "a" || records[1].Name != "b" {
		t.Errorf("got %v", records)
	}
	if err == nil || !strings.Contains(err.Error(), "damaged") || strings.Contains(err.Error(), "empty") {
		t.Errorf("got error %v", err)
	}
}

func TestChoosePorts(t *testing.T) {
	t.Parallel()
	s := &Store{Root: t.TempDir()}
	first := testRecord(t, s, "first")
	seen := map[int]string{}
	for name, port := range first.Ports.All() {
		if port == 0 || seen[port] != "" {
			t.Errorf("%s and %s have port %d", name, seen[port], port)
		}
		seen[port] = name
	}
	if err := WriteRecord(s.Layout("first"), first); err != nil {
		t.Fatal(err)
	}
	// A cluster keeps its ports while it is stopped.
	if _, err := s.ChoosePorts(first.Ports.STSProxy); err == nil || !strings.Contains(err.Error(), `kept by local cluster "first"`) {
		t.Errorf("got %v for a port that is kept", err)
	}
	second, err := s.ChoosePorts(0)
	if err != nil {
		t.Fatal(err)
	}
	for name, port := range second.All() {
		if seen[port] != "" {
			t.Errorf("%s has a port of the first cluster", name)
		}
	}
	wanted := second.APIServer
	if got, err := s.ChoosePorts(wanted); err != nil || got.APIServer != wanted {
		t.Errorf("got %d, %v; want %d", got.APIServer, err, wanted)
	}
}
