package local

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/pki"
)

// read reads all files below a directory.
func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestEnsureKeys(t *testing.T) {
	t.Parallel()
	s := &Store{Root: t.TempDir()}
	l, record := s.Layout("c1"), testRecord(t, s, "c1")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	ensure := func() bool {
		t.Helper()
		changed, err := EnsureKeys(l, record, clock)
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	if !ensure() {
		t.Error("nothing was made")
	}
	first := read(t, l.Dir)
	if ensure() {
		t.Error("made again")
	}
	leaf := func(name string) *tls.Certificate {
		t.Helper()
		pair, err := tls.LoadX509KeyPair(l.PKI(name+".crt"), l.PKI(name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return &pair
	}
	if cert := leaf("authenticator").Leaf; cert.Subject.CommonName != AuthenticatorUser || len(cert.Subject.Organization) != 3 {
		t.Errorf("the authenticator is %s", cert.Subject)
	}
	for path, data := range first {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		if strings.HasSuffix(path, ".yaml") && strings.Contains(data, "PRIVATE KEY") {
			t.Errorf("%s holds a bare key", path)
		}
	}

	// A lost certificate is made again, all others stay.
	if err := os.Remove(l.PKI("apiserver.crt")); err != nil {
		t.Fatal(err)
	}
	if !ensure() {
		t.Error("a lost certificate was not made again")
	}
	wantChanged(t, l, first, read(t, l.Dir), l.PKI("apiserver.crt"), l.PKI("apiserver.key"))

	// A key of another certificate is of no use.
	second := read(t, l.Dir)
	if err := os.WriteFile(l.PKI("apiserver.key"), []byte(second[l.PKI("admin.key")]), 0o600); err != nil {
		t.Fatal(err)
	}
	if !ensure() {
		t.Error("a wrong key was kept")
	}
	leaf("apiserver")

	// Servers' certificates are renewed in time, everything else stays.
	third := read(t, l.Dir)
	cert, err := pki.ParseCert([]byte(third[l.PKI("apiserver.crt")]))
	if err != nil {
		t.Fatal(err)
	}
	now = pki.RenewAt(cert).Add(-time.Hour)
	if ensure() {
		t.Error("renewed too early")
	}
	now = pki.RenewAt(cert)
	if !ensure() {
		t.Error("not renewed")
	}
	wantChanged(t, l, third, read(t, l.Dir),
		l.PKI("apiserver.crt"), l.PKI("apiserver.key"), l.Authenticator("cert.pem"), l.Authenticator("key.pem"))
}

func wantChanged(t *testing.T, l Layout, before, after map[string]string, paths ...string) {
	t.Helper()
	want := map[string]bool{}
	for _, path := range paths {
		want[path] = true
	}
	for path := range after {
		name, _ := filepath.Rel(l.Dir, path)
		if changed := before[path] != after[path]; changed != want[path] {
			t.Errorf("%s: changed %t, want %t", name, changed, want[path])
		}
	}
}

func TestEnsureKeysWithHalfACA(t *testing.T) {
	t.Parallel()
	s := &Store{Root: t.TempDir()}
	l, record := s.Layout("c1"), testRecord(t, s, "c1")
	if _, err := EnsureKeys(l, record, time.Now); err != nil {
		t.Fatal(err)
	}
	before := read(t, l.Dir)
	if err := os.Remove(l.PKI("ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := EnsureKeys(l, record, time.Now); err == nil || !strings.Contains(err.Error(), "ca.key") {
		t.Errorf("got %v, want the missing key named", err)
	}
	if got := read(t, l.Dir)[l.PKI("ca.crt")]; got != before[l.PKI("ca.crt")] {
		t.Error("the CA that users trust was replaced")
	}
	// A process that was killed between the two files leaves a key alone.
	if err := os.WriteFile(l.PKI("ca.key"), []byte(before[l.PKI("ca.key")]), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(l.PKI("sa.crt")); err != nil {
		t.Fatal(err)
	}
	if changed, err := EnsureKeys(l, record, time.Now); err != nil || !changed {
		t.Errorf("changed %t, %v", changed, err)
	}
}

func TestEnsureSTS(t *testing.T) {
	t.Parallel()
	s := &Store{Root: t.TempDir()}
	l, record := s.Layout("c1"), testRecord(t, s, "c1")
	ids := []Identity{
		{Profile: "dev", ARN: "arn:aws:iam::111122223333:role/dev", Session: "s"},
		{Profile: "user", ARN: "arn:aws:iam::444455556666:user/user"},
	}
	first, err := EnsureSTS(l, record, ids)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Credentials) != 2 || first.Credentials[0].SessionToken == "" || first.Credentials[1].SessionToken != "" || len(first.Issuers) != 2 {
		t.Errorf("got %d credentials of the wrong kind, issuers %v", len(first.Credentials), first.Issuers)
	}
	before := read(t, l.Dir)
	again, err := EnsureSTS(l, record, []Identity{ids[1], ids[0]})
	if err != nil {
		t.Fatal(err)
	}
	if again.Credentials[0] != first.Credentials[1] || again.Credentials[1] != first.Credentials[0] {
		t.Error("the same identities have other credentials")
	}
	for path, data := range read(t, l.Dir) {
		if before[path] != data {
			t.Errorf("%s changed", path)
		}
	}
	if _, err := EnsureSTS(l, record, []Identity{{Profile: "bad", ARN: "x"}}); err == nil || !strings.Contains(err.Error(), `"bad"`) {
		t.Errorf("got %v, want the identity named", err)
	}
}
