package generate

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/spec"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func options(dir string) Options {
	cluster := &v1alpha1.Cluster{}
	cfg := &v1alpha1.AWSIamConfig{Spec: v1alpha1.AWSIamConfigSpec{
		AWSRegion: "us-west-2", Partition: "aws", BackendMode: []string{v1alpha1.BackendEKSConfigMap},
		Tokens:   []string{v1alpha1.TokenPresigned},
		MapRoles: []v1alpha1.MapRole{{RoleARN: "arn:aws:iam::111122223333:role/dev", Username: "dev"}},
		Server:   v1alpha1.ServerSpec{Implementation: v1alpha1.ImplementationCapiam},
		Client:   v1alpha1.ClientSpec{Command: v1alpha1.ClientAWSIAMAuthenticator},
	}}
	return Options{
		Spec:    &spec.Spec{Name: "edge", Namespace: "default", Cluster: cluster, IAM: cfg},
		Dir:     dir,
		Image:   "registry.example.com/a:v1",
		Command: "capiam generate manifests -f edge.yaml -o " + dir,
		Now:     func() time.Time { return noon },
	}
}

// generate runs and writes, and returns the actions by file.
func generate(t *testing.T, o Options) map[string]string {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := r.Write(t.Context(), o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	did := map[string]string{}
	for _, c := range changes {
		name, err := filepath.Rel(o.Dir, c.Path)
		if err != nil {
			t.Fatal(err)
		}
		did[filepath.ToSlash(name)] = c.Action
	}
	return did
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSecondRunChangesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "out")
	first := generate(t, options(dir))
	var names []string
	for name, action := range first {
		names = append(names, name)
		if action != "written" {
			t.Errorf("%s: %s", name, action)
		}
	}
	slices.Sort(names)
	want := []string{
		"aws-auth.yaml", "aws-iam-authenticator.yaml", "aws-iam-authenticator/config.yaml",
		"aws-iam-authenticator/kubeconfig.yaml", "pki/ca-cert.pem", "pki/ca-key.pem", "pki/cert.pem", "pki/key.pem",
	}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("files -want +got\n%s", d)
	}
	before := contents(t, dir)
	for name, action := range generate(t, options(dir)) {
		if action != "unchanged" {
			t.Errorf("the second time %s: %s", name, action)
		}
	}
	if d := cmp.Diff(before, contents(t, dir)); d != "" {
		t.Errorf("-first +second\n%s", d)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for name := range before {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestCertificateIsRenewedAndTheCAKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	generate(t, options(dir))
	later := options(dir)
	later.Now = func() time.Time { return noon.Add(pki.DefaultLeafLifetime * 3 / 4) }
	for name, action := range generate(t, later) {
		renewed := name == leafCertFile || name == leafKeyFile || name == releaseFile
		if (action == "written") != renewed {
			t.Errorf("%s: %s", name, action)
		}
	}
}

func TestDamagedLeafIsReplacedAndDamagedCAIsNot(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	generate(t, options(dir))
	if err := os.WriteFile(at(dir, leafKeyFile), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if did := generate(t, options(dir)); did[leafKeyFile] != "written" || did[caKeyFile] != "unchanged" {
		t.Errorf("did %v", did)
	}
	if err := os.WriteFile(at(dir, caKeyFile), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	if _, err := Run(t.Context(), options(dir)); err == nil || !strings.Contains(err.Error(), "private key") {
		t.Errorf("a damaged CA: %v", err)
	}
	if d := cmp.Diff(before, contents(t, dir)); d != "" {
		t.Errorf("changed\n%s", d)
	}
}

func TestClusterKeepsItsID(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	o := options(dir)
	o.Spec.IAM.Spec.ClusterID = "one"
	generate(t, o)
	r, err := Run(t.Context(), options(dir))
	if err != nil || r.ClusterID != "one" || r.NewClusterID || r.NewCA {
		t.Errorf("cluster ID %q, %v", r.ClusterID, err)
	}
	o = options(dir)
	o.Spec.IAM.Spec.ClusterID = "two"
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "keeps its ID") {
		t.Errorf("another cluster ID: %v", err)
	}
}

func TestFilesOfAnotherBackendGo(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	generate(t, options(dir))
	mine := filepath.Join(dir, "mine.yaml")
	if err := os.WriteFile(mine, []byte("kind: Mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options(dir)
	o.Spec.IAM.Spec.BackendMode = []string{v1alpha1.BackendCRD}
	did := generate(t, o)
	if did[awsAuthFile] != "removed" || did[crdsFile] != "written" || did[identityFile] != "written" {
		t.Errorf("did %v", did)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
	// Without capiam's header it is somebody else's.
	if err := os.WriteFile(at(dir, awsAuthFile), []byte("kind: ConfigMap\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if did := generate(t, o); did[awsAuthFile] != "" {
		t.Errorf("did %v", did)
	}
}

func TestGivenCA(t *testing.T) {
	t.Parallel()
	ca, err := pki.NewCA(pki.CAOptions{CommonName: "given", Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	o := options(dir)
	o.CA = ca
	generate(t, o)
	got, err := os.ReadFile(at(dir, caCertFile))
	if err != nil || !bytes.Equal(got, ca.CertPEM) {
		t.Errorf("another CA: %v", err)
	}
}

func TestNothingIsLeftOfAFailure(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	r, err := Run(t.Context(), options(filepath.Join(parent, "out")))
	if err != nil {
		t.Fatal(err)
	}
	// A file cannot be where another file's directory has to be.
	broken := *r
	broken.Files = append(slices.Clone(r.Files), r.Files[0])
	broken.Files[len(broken.Files)-1].Path = r.Files[0].Path + "/below"
	if _, err := broken.Write(t.Context(), filepath.Join(parent, "out")); err == nil {
		t.Fatal("no error")
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := r.Write(t.Context(), ""); err == nil {
		t.Error("wrote to no directory")
	}
}
