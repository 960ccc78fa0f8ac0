//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capiam/capiam/test/clusterapi/cluster"
	"github.com/capiam/capiam/test/e2e/environment"
)

// people are the identities of the tests: two that the specs map, and one that
// they do not.
var people = map[string]string{
	"admin":     "arn:aws:iam::" + environment.Account + ":role/platform-admin",
	"developer": "arn:aws:iam::" + environment.Account + ":user/developer",
	"stranger":  "arn:aws:iam::" + environment.Account + ":user/stranger",
}

// work is somebody at a command line, with a spec, before a cluster.
type work struct {
	*cluster.Cluster
	e    *environment.Environment
	dir  string
	spec string
}

// newWork writes a spec of testdata, with who may log in, and makes the image
// known to all machines that are and will be.
func newWork(t *testing.T, name, file string) *work {
	t.Helper()
	e, c := newCluster(t, name)
	for profile, arn := range people {
		if err := e.STS.Profile(profile, arn); err != nil {
			t.Fatal(err)
		}
	}
	image := authenticator(t)
	if err := e.Lab.Import(within(t), image.archive); err != nil {
		t.Fatal(err)
	}
	w := &work{Cluster: c, e: e, dir: t.TempDir()}
	names := []string{"NAMESPACE", c.Namespace, "NAME", c.Name, "IMAGE", image.reference}
	w.spec = string(fixture(t, file, names...)) + string(fixture(t, "iam.yaml", names...))
	w.write(t, "spec.yaml", w.spec)
	return w
}

func (w *work) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// edit changes the spec, which must have the old text.
func (w *work) edit(t *testing.T, old, now string) {
	t.Helper()
	if !strings.Contains(w.spec, old) {
		t.Fatalf("the spec has no %q", old)
	}
	w.spec = strings.Replace(w.spec, old, now, 1)
	w.write(t, "spec.yaml", w.spec)
}

// run runs a program as somebody whose AWS profile is given, and returns its
// standard output. What it says else goes into the error.
func (w *work) run(ctx context.Context, profile, program string, args ...string) (string, error) {
	// The environment's PATH is not this process's.
	path, err := exec.LookPath(filepath.Join(w.e.Bin, program))
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = w.dir
	cmd.Env = append(w.e.Env(), "AWS_PROFILE="+profile, "NO_COLOR=1")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// capiam runs capiam with the spec and the management cluster.
func (w *work) capiam(ctx context.Context, args ...string) (string, error) {
	args = append(args, "--kubeconfig", w.e.Management.Kubeconfig)
	return w.run(ctx, "admin", "capiam", args...)
}

func (w *work) create(ctx context.Context) error {
	_, err := w.capiam(ctx, "create", "cluster", "-f", "spec.yaml")
	return err
}

func (w *work) upgrade(ctx context.Context) error {
	_, err := w.capiam(ctx, "upgrade", "cluster", "-f", "spec.yaml")
	return err
}

// kubectl runs kubectl with the users' kubeconfig, as a profile.
func (w *work) kubectl(ctx context.Context, profile string, args ...string) (string, error) {
	args = append([]string{"--kubeconfig", filepath.Join(w.Name, w.Name+"-aws.kubeconfig")}, args...)
	for {
		out, err := w.run(ctx, profile, "kubectl", args...)
		// The endpoint loses connections for a moment after a node has gone,
		// whoever asks.
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "Unable to connect to the server") {
			return out, err
		}
	}
}

// whoami is whom the API server takes a profile for, as kubectl says.
func (w *work) whoami(ctx context.Context, profile string) (user string, groups []string, err error) {
	out, err := w.kubectl(ctx, profile, "auth", "whoami", "-o", "json")
	if err != nil {
		return "", nil, err
	}
	var review struct {
		Status struct {
			UserInfo struct {
				Username string
				Groups   []string
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &review); err != nil {
		return "", nil, err
	}
	return review.Status.UserInfo.Username, review.Status.UserInfo.Groups, nil
}

// probe logs in over and over as admin, until the returned function is called.
// Logins that the endpoint loses are counted. None may be refused, a control-plane
// machine that joins or not.
func (w *work) probe(t *testing.T, what string) (stop func()) {
	t.Helper()
	admin, err := w.WorkloadConfig(within(t))
	if err != nil {
		t.Fatal(err)
	}
	prober := w.e.Probe(admin, "admin", w.clusterID(t), probeInterval)
	return func() {
		t.Helper()
		report := prober.Stop()
		t.Logf("logins, %s: %s", what, report)
		measured.add("logins: "+what, report)
		for _, failure := range report.Refused {
			t.Errorf("login refused: %s", failure)
		}
		for _, failure := range report.Logins.Lost {
			t.Logf("login lost: %s", failure)
		}
		if report.Logins.Tried == 0 {
			t.Error("nobody tried to log in")
		}
	}
}

// clusterID is the name that tokens are made for: the argument after -i in the
// users' kubeconfig.
func (w *work) clusterID(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.dir, w.Name, w.Name+"-aws.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(raw), "- -i\n")
	id, _, ended := strings.Cut(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), "-")), "\n")
	if !found || !ended {
		t.Fatal("the users' kubeconfig has no cluster ID")
	}
	return strings.TrimSpace(id)
}

// authenticatorPods are the authenticator's, by their nodes.
func (w *work) authenticatorPods(ctx context.Context) (map[string]corev1.Pod, error) {
	workload, err := w.Workload(ctx)
	if err != nil {
		return nil, err
	}
	list := &corev1.PodList{}
	if err := workload.List(ctx, list, client.InNamespace("kube-system"), client.MatchingLabels{"app.kubernetes.io/name": "aws-iam-authenticator"}); err != nil {
		return nil, err
	}
	pods := map[string]corev1.Pod{}
	for _, pod := range list.Items {
		if pod.DeletionTimestamp.IsZero() {
			pods[pod.Spec.NodeName] = pod
		}
	}
	if len(pods) == 0 {
		return nil, errors.New("the authenticator has no pods")
	}
	return pods, nil
}

// image is what `make image` made.
type image struct {
	archive, reference, digest string
}

// authenticator finds the image in the directory that make names.
func authenticator(t *testing.T) image {
	t.Helper()
	archives, err := filepath.Glob(filepath.Join(os.Getenv(distEnv), "capiam-authenticator-*-e2e.oci.tar"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("want one image of the authenticator in %s, have %v (make e2e-image)", os.Getenv(distEnv), archives)
	}
	out, err := exec.Command("tar", "--extract", "--to-stdout", "--file", archives[0], "index.json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(out, &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("%s: %v %s", archives[0], err, out)
	}
	m := index.Manifests[0]
	return image{archive: archives[0], digest: m.Digest, reference: m.Annotations["io.containerd.image.name"] + "@" + m.Digest}
}
