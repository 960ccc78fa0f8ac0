//go:build e2e

// Package e2e_test proves capiam on real Kubernetes nodes: Cluster API's own
// controllers make them, out of namespaces, with kubeadm. `make e2e` runs it, as
// root.
//
// Where that cannot be, the tests fail: none is ever skipped. All share one
// management cluster and have a namespace each.
package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capiam/capiam/test/clusterapi/cluster"
	"github.com/capiam/capiam/test/e2e/environment"
)

// binEnv names the directory with the programs under test, and distEnv the one
// with what `make image` wrote.
const (
	binEnv  = "CAPIAM_BIN"
	distEnv = "CAPIAM_E2E_DIST"
)

// patience bounds everything that is waited for. It is far more than anything
// takes, so that a busy machine fails no test.
const patience = 15 * time.Minute

var options environment.Options

func TestMain(m *testing.M) {
	flag.Parse()
	options.Bin = os.Getenv(binEnv)
	if options.Bin == "" || os.Getenv(distEnv) == "" {
		fmt.Printf("%s and %s do not say where the programs and images are: run by make e2e\n", binEnv, distEnv)
		os.Exit(1)
	}
	os.Exit(environment.Main(options, os.Stdout, func() int {
		code := m.Run()
		shared.stop()
		if err := measured.write(); err != nil {
			fmt.Println(err)
			return 1
		}
		return code
	}))
}

// shared is the environment of all tests. The first test starts it.
var shared sharedEnvironment

type sharedEnvironment struct {
	once sync.Once
	e    *environment.Environment
	err  error
}

func (s *sharedEnvironment) stop() {
	if s.e != nil {
		s.e.Stop()
	}
}

func sharedBy(t *testing.T) *environment.Environment {
	t.Helper()
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		started := time.Now()
		shared.e, shared.err = environment.Start(ctx, options)
		measured.add("management cluster up", time.Since(started))
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.e
}

// newCluster names a cluster in a namespace of the test's own, and takes it away
// at the end. It does not create the cluster.
func newCluster(t *testing.T, name string) (*environment.Environment, *cluster.Cluster) {
	t.Helper()
	e := sharedBy(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := e.Management.Client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	c := &cluster.Cluster{Management: e.Management, Namespace: namespace.Name, Name: name}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(e.Management.Complaints())
			showMachines(t, e)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Delete(ctx); err != nil {
			t.Error(err)
		}
		machines, err := e.Lab.List()
		if err != nil {
			t.Error(err)
		}
		for _, machine := range machines {
			t.Errorf("machine %s is left behind", machine.Name)
			if err := e.Lab.Remove(ctx, machine.Name); err != nil {
				t.Error(err)
			}
		}
	})
	return e, c
}

// showMachines shows what may tell why a machine did not become a node.
func showMachines(t *testing.T, e *environment.Environment) {
	machines, err := e.Lab.List()
	if err != nil {
		t.Error(err)
	}
	for _, machine := range machines {
		log, _ := machine.Log()
		kubelet, _ := os.ReadFile(machine.Disk("/var/log/kubelet.log"))
		t.Logf("machine %s, running: %v\n%s\nkubelet:\n%s", machine.Name, machine.Running(), end(log), end(kubelet))
	}
}

func end(text []byte) []byte {
	const most = 4 << 10
	return text[max(0, len(text)-most):]
}

// fixture is a file of testdata with names filled in.
func fixture(t *testing.T, file string, pairs ...string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.NewReplacer(pairs...).Replace(string(data)))
}

// within is a context that ends when patience does.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// took runs a step, fails the test if it does, and notes how long it took.
func took(t *testing.T, what string, step func(context.Context) error) {
	t.Helper()
	started := time.Now()
	if err := step(within(t)); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	elapsed := time.Since(started)
	t.Logf("%s: %s", what, elapsed.Round(100*time.Millisecond))
	measured.add(what, elapsed)
}
