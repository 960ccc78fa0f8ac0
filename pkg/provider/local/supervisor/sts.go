package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/capiam/capiam/pkg/provider/local"
	"github.com/capiam/capiam/pkg/stssim"
)

// simulatedSTS is the cluster's own STS, behind a proxy on loopback.
type simulatedSTS struct {
	layout local.Layout
	server *stssim.Server
	proxy  *stssim.Proxy

	mu    sync.Mutex // one change of the state's file at a time
	state *stssim.State
}

func startSTS(ctx context.Context, l local.Layout, record *local.Record, log *slog.Logger) (*simulatedSTS, error) {
	state, err := stssim.Load(l.STS(), nil)
	if err != nil {
		return nil, err
	}
	server := stssim.New(state, stssim.Options{Log: log})
	// It must answer until the authenticator has stopped, so it does not end
	// with ctx but with close.
	proxy, err := stssim.ListenProxy(context.WithoutCancel(ctx), server, net.JoinHostPort("127.0.0.1", strconv.Itoa(record.Ports.STSProxy)))
	if err != nil {
		return nil, err
	}
	return &simulatedSTS{layout: l, server: server, proxy: proxy, state: state}, nil
}

// ensure makes the identities exist and saves them before anybody is told of
// them.
func (s *simulatedSTS) ensure(identities []local.Identity) (*local.IdentitiesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, err := local.EnsureIdentities(s.state, identities)
	if err != nil {
		return nil, err
	}
	return answer, s.state.Save(s.layout.STS())
}

// setFaults makes the simulation misbehave; see stssim.Faults for the form.
func (s *simulatedSTS) setFaults(body io.Reader) error {
	var faults stssim.Faults
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&faults); err != nil {
		return fmt.Errorf("decode the faults: %w", err)
	}
	s.server.SetFaults(faults)
	return nil
}

func (s *simulatedSTS) close() error { return s.proxy.Close() }
