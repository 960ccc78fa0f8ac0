package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Status is what a supervisor says about its cluster.
type Status struct {
	// PID is the supervisor's process id, for people. No program signals it.
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// Ready is true once the API server's /readyz has answered ok.
	Ready      bool              `json:"ready"`
	Components []ComponentStatus `json:"components"`
}

// States of a component.
const (
	StateStarting = "starting"
	StateRunning  = "running"
	StateWaiting  = "waiting to restart"
	StateStopped  = "stopped"
)

// ComponentStatus is the state of one part of a local cluster.
type ComponentStatus struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	PID      int    `json:"pid,omitempty"`
	Restarts int    `json:"restarts"`
	// LastError is why it last ended, if it did not end well.
	LastError string `json:"lastError,omitempty"`
	// Config is ConfigSum of the configuration file it was last started with,
	// for the authenticator.
	Config string `json:"config,omitempty"`
}

// ConfigSum stands for a configuration file's content.
func ConfigSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Identity asks the simulated STS to know a principal.
type Identity struct {
	// Profile is the name of the AWS profile its credentials are for.
	Profile string `json:"profile"`
	// ARN is the principal's, with its path.
	ARN string `json:"arn"`
	// Session is the session name, for a role.
	Session string `json:"session,omitempty"`
}

// Credentials are what an identity signs its requests with. They are secret,
// and only the simulated STS honours them.
type Credentials struct {
	Profile         string `json:"profile"`
	AccessKeyID     string `json:"accessKeyID"`
	SecretAccessKey string `json:"secretAccessKey"`
	SessionToken    string `json:"sessionToken,omitempty"`
}

// IdentitiesRequest adds identities to the simulated STS. Asking for the same
// again gives the same credentials.
type IdentitiesRequest struct {
	Identities []Identity `json:"identities"`
}

// IdentitiesResponse answers an IdentitiesRequest.
type IdentitiesResponse struct {
	// Credentials come in the order the identities were asked for.
	Credentials []Credentials `json:"credentials"`
	// Issuers are the token issuers of the identities' accounts, by account.
	Issuers map[string]string `json:"issuers"`
}

// Paths of the control API, served over the cluster's unix socket.
const (
	PathStatus     = "/v1/status"
	PathStop       = "/v1/stop"
	PathIdentities = "/v1/identities"
	PathFaults     = "/v1/faults"
	PathRestart    = "/v1/restart-authenticator"
)

// Control talks to a running supervisor.
type Control struct {
	client *http.Client
}

// NewControl returns a client for the supervisor of the cluster in that
// directory. Nothing is called until it is used.
func NewControl(l Layout) *Control {
	socket := l.ControlSocket()
	return &Control{client: &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			},
			DisableKeepAlives: true,
		},
	}}
}

// Status asks how the cluster is.
func (c *Control) Status(ctx context.Context) (*Status, error) {
	status := &Status{}
	return status, c.call(ctx, http.MethodGet, PathStatus, nil, status)
}

// Stop tells the supervisor to stop everything and end. It returns when the
// supervisor has heard it, not when it has ended.
func (c *Control) Stop(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, PathStop, struct{}{}, nil)
}

// EnsureIdentities makes the running simulated STS know the identities.
func (c *Control) EnsureIdentities(ctx context.Context, identities []Identity) (*IdentitiesResponse, error) {
	answer := &IdentitiesResponse{}
	return answer, c.call(ctx, http.MethodPost, PathIdentities, IdentitiesRequest{Identities: identities}, answer)
}

// RestartAuthenticator has the authenticator read its configuration anew. It
// returns when the old one has ended and the new one was started.
func (c *Control) RestartAuthenticator(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, PathRestart, struct{}{}, nil)
}

func (c *Control) call(ctx context.Context, method, path string, body, answer any) error {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://capiam-local"+path, reader)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the supervisor: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return fmt.Errorf("ask the supervisor: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the supervisor: %s: %s", resp.Status, bytes.TrimSpace(data))
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("ask the supervisor: %w", err)
	}
	return nil
}
