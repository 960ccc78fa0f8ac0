// Package clusterapi_test shows what capiam does to clusters of Cluster API's
// own, unmodified managers. Their machines are the in-memory provider's, which
// run nothing; everything else is real.
//
// All tests share one management cluster, and each has a namespace in it. The
// programs are taken from the directory in CAPIAM_BIN, which `make test` sets.
// Nothing here reaches beyond the machine: the tests run in a network namespace
// that has only loopback, or not at all, as Cluster API's webhooks listen on all
// addresses.
package clusterapi_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/capiam/capiam/test/clusterapi/cluster"
	"github.com/capiam/capiam/test/clusterapi/management"
	"github.com/capiam/capiam/test/isolate"
	"github.com/capiam/capiam/test/programs"
)

// patience bounds everything that is waited for. It is far more than anything
// takes, so that a busy machine fails no test.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(programs.Env) == "" {
		os.Exit(m.Run()) // every test says why it is skipped
	}
	code, isolated, why := isolate.Run()
	if isolated {
		os.Exit(code)
	}
	if !isolate.Inside() {
		fmt.Println("cannot make a network namespace; run as root, or allow user namespaces:", why)
		os.Exit(1)
	}
	// The tests wait far more than they work. Who says otherwise on the command
	// line is heard, as that is only read by m.Run.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	log.SetLogger(logr.Discard()) // clusterctl's clients ask for one
	code = m.Run()
	shared.stop()
	target.stop()
	os.Exit(code)
}

var (
	// shared is the management cluster of all tests. The first test that wants
	// it starts it.
	shared = sharedManagement{infrastructure: management.InMemory}
	// target is another one, to move a cluster to. Nobody works on
	// infrastructure there.
	target = sharedManagement{infrastructure: func(bin string) *management.Provider { return management.Docker(bin) }}
)

type sharedManagement struct {
	infrastructure func(bin string) *management.Provider

	once sync.Once
	dir  string
	m    *management.Management
	err  error
}

// get returns the management cluster, started.
func (s *sharedManagement) get(t *testing.T) *management.Management {
	t.Helper()
	bin := programs.Dir(t)
	s.once.Do(func() { s.start(bin) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.m
}

func (s *sharedManagement) start(bin string) {
	// The name of a test would make the paths of sockets too long.
	if s.dir, s.err = os.MkdirTemp("", "capiam-capi-"); s.err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.m, s.err = management.Start(ctx, management.Options{
		Dir: s.dir, Bin: bin, Infrastructure: s.infrastructure(bin),
	})
}

func (s *sharedManagement) stop() {
	if s.m != nil {
		s.m.Stop()
	}
	if s.dir != "" {
		if err := management.Remove(context.Background(), s.dir); err != nil {
			fmt.Println(err)
		}
	}
}

// newCluster names a cluster in a namespace of the test's own, and takes it away
// at the end. It does not create the cluster.
func newCluster(t *testing.T, name string) *cluster.Cluster {
	t.Helper()
	m := shared.get(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := m.Client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	c := &cluster.Cluster{Management: m, Namespace: namespace.Name, Name: name}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(m.Complaints())
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Delete(ctx); err != nil {
			t.Error(err)
		}
		if err := m.Client.Delete(ctx, namespace); err != nil {
			t.Error(err)
		}
	})
	return c
}

// fixture is a file of testdata with the cluster's names.
func fixture(t *testing.T, file string, c *cluster.Cluster) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.NewReplacer("NAMESPACE", c.Namespace, "NAME", c.Name).Replace(string(data)))
}

// within is a context that ends when patience does.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
