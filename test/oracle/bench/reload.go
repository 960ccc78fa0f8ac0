package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
	peerconfig "sigs.k8s.io/aws-iam-authenticator/pkg/config"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/configmap"
	peermetrics "sigs.k8s.io/aws-iam-authenticator/pkg/metrics"
	"sigs.k8s.io/aws-iam-authenticator/pkg/token"

	"github.com/capiam/capiam/pkg/authenticator/backend"
	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

// side is one of the two, watching an API server of its own.
type side struct {
	name string
	api  *api
	// knows tells whether an ARN is mapped.
	knows func(arn string) bool
	// ended is closed when it has stopped; nil if that cannot be told.
	ended chan struct{}
}

// reloads compares taking over a changed aws-auth: from the event on the watch
// until the new entry is found, and the CPU time until all is quiet again.
func reloads(ctx context.Context, runs int) (all []series, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "capiam-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ours, err := startOurs(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { cancel(); <-ours.ended }() // it saves its table at its end
	defer ours.api.close()
	theirs, err := startTheirs(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer theirs.api.close()
	for _, n := range []int{10, 10_000} {
		took := series{Name: fmt.Sprintf("reload of aws-auth, %d mappings: event to new entry", n), Unit: "ms"}
		cpu := series{Name: fmt.Sprintf("reload of aws-auth, %d mappings: CPU", n), Unit: "ms"}
		if n > 10 {
			took.Aim = "at most 0.33"
		}
		// Short names: 10,000 entries have to fit into a ConfigMap's 1 MiB.
		var m mapping.Mappings
		for i := range n - 1 {
			m.Roles = append(m.Roles, mapping.Entry{ARN: fmt.Sprintf("arn:aws:iam::%s:role/R%d", account, i), Username: fmt.Sprintf("u%d", i), Groups: []string{"dev"}})
		}
		for run := range runs + 1 {
			marker := fmt.Sprintf("arn:aws:iam::%s:role/New%d-%d", account, n, run)
			changed := m
			changed.Roles = append(m.Roles[:len(m.Roles):len(m.Roles)], mapping.Entry{ARN: marker, Username: "new", Groups: []string{"developers"}})
			data := mapping.Encode(changed)
			if size := mapping.Size(data); size > mapping.MaxConfigMapBytes {
				return nil, fmt.Errorf("%d entries take %d bytes", n, size)
			}
			for _, s := range []struct {
				side      *side
				took, cpu *[]float64
			}{{ours, &took.Ours, &cpu.Ours}, {theirs, &took.Theirs, &cpu.Theirs}} {
				wall, used, err := s.side.reload(ctx, data, marker)
				if err != nil {
					return nil, err
				}
				if run > 0 {
					*s.took, *s.cpu = append(*s.took, wall), append(*s.cpu, used)
				}
			}
		}
		all = append(all, took, cpu)
	}
	cancel()
	return all, nil
}

// reload sends a change and returns what it took, in milliseconds.
func (s *side) reload(ctx context.Context, data map[string]string, marker string) (wall, used float64, err error) {
	send, err := s.api.prepare(data)
	if err != nil {
		return 0, 0, err
	}
	cpu0, err := cpuTime()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	if err := send(ctx); err != nil {
		return 0, 0, err
	}
	for !s.knows(marker) {
		if time.Since(begin) > 10*time.Second {
			return 0, 0, errors.New("the change does not come into force: " + s.name)
		}
		time.Sleep(500 * time.Microsecond)
	}
	wall = float64(time.Since(begin)) / float64(time.Millisecond)
	// Whatever else the change sets off, and what it leaves to be collected.
	for last := time.Duration(0); ; {
		now, err := cpuTime()
		if err != nil {
			return 0, 0, err
		}
		if now-last < time.Millisecond {
			return wall, float64(now-cpu0) / float64(time.Millisecond), nil
		}
		last = now
		time.Sleep(50 * time.Millisecond)
	}
}

func startOurs(ctx context.Context, dir string) (*side, error) {
	a := newAPI()
	client, err := backend.NewConfigMapClient(&rest.Config{Host: a.url()}, http.DefaultClient)
	if err != nil {
		return nil, err
	}
	m := metrics.New()
	store := backend.NewStore([]string{mapping.BackendEKSConfigMap}, backend.StoreOptions{Partition: "aws", Metrics: m})
	b := backend.NewConfigMap(backend.ConfigMapOptions{Client: client, Store: store, Grace: time.Hour, SnapshotDir: dir, Metrics: m, Log: slog.New(slog.DiscardHandler)})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Run(ctx)
	}()
	return &side{name: "capiam", api: a, ended: ended, knows: func(arn string) bool {
		parsed, err := iam.ParseARN(arn)
		if err != nil {
			return false
		}
		_, err = store.Lookup(mapping.Principal{ARN: parsed})
		return err == nil
	}}, nil
}

func startTheirs(ctx context.Context, dir string) (*side, error) {
	a := newAPI()
	path := filepath.Join(dir, "kubeconfig")
	kubeconfig := fmt.Sprintf("{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}], clusters: [{name: c, cluster: {server: %q}}]}\n", a.url())
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		return nil, err
	}
	// It counts failures of its watch here, also the last.
	peermetrics.InitMetrics(prometheus.NewRegistry())
	m, err := configmap.NewConfigMapMapper(peerconfig.Config{Kubeconfig: path})
	if err != nil {
		return nil, err
	}
	if err := m.Start(ctx.Done()); err != nil {
		return nil, err
	}
	return &side{name: "aws-iam-authenticator", api: a, knows: func(arn string) bool {
		_, err := m.Map(&token.Identity{CanonicalARN: arn})
		return err == nil
	}}, nil
}

// cpuTime returns how long this process has been running on CPUs.
func cpuTime() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano()), err
}
