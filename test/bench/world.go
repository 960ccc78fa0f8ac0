package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/pki"
	"github.com/capiam/capiam/pkg/stssim"
	"github.com/capiam/capiam/pkg/token"
)

const (
	benchCluster = "bench"
	benchRegion  = "us-west-2"
	benchAccount = "111122223333"
	// tokens is how many different tokens a load is made of: more than are
	// under way at once, so that no two requests share a verification.
	tokens = 512
)

// world is what the authenticators under test have around them: identities,
// certificates, and the simulated STS in a process of its own.
type world struct {
	dir   string
	state *stssim.State
	// ca vouches for the simulated STS and for the authenticators.
	ca  *pki.CA
	sts *stsProcess
}

// newWorld makes identities for tables of the sizes given and starts the
// simulated STS.
func newWorld(ctx context.Context, dir string) (*world, error) {
	w := &world{dir: dir}
	var err error
	if w.state, err = stssim.NewState(stssim.StateOptions{}); err != nil {
		return nil, err
	}
	if w.ca, err = pki.NewCA(pki.CAOptions{CommonName: "capiam bench"}); err != nil {
		return nil, err
	}
	for i := range tokens {
		for _, n := range sizes {
			w.state.Ensure(identity(i, n))
		}
	}
	issuer := strings.TrimPrefix(w.state.IssuerURL(benchAccount), "https://")
	leaf, err := w.ca.Issue(pki.LeafOptions{CommonName: "simulated STS", DNSNames: []string{"sts." + benchRegion + ".amazonaws.com", issuer}})
	if err != nil {
		return nil, err
	}
	server, err := w.ca.Issue(pki.LeafOptions{CommonName: "authenticator", DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		return nil, err
	}
	for name, data := range map[string][]byte{
		"ca.pem": w.ca.CertPEM, "sts.pem": leaf.CertPEM, "sts.key": leaf.KeyPEM,
		"cert.pem": server.CertPEM, "key.pem": server.KeyPEM,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, err
		}
	}
	if err := w.state.Save(w.path("sts.json")); err != nil {
		return nil, err
	}
	w.sts, err = startSTS(ctx, w)
	return w, err
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) close() error { return w.sts.close() }

// sizes are how many mappings the authenticators are measured with.
var sizes = []int{10, 10_000}

// roleName names the i-th role of a table.
func roleName(i int) string { return fmt.Sprintf("Role%05d", i) }

// identity is the i-th of those who log in where n roles are mapped: roles from
// all over the table, each in several sessions.
func identity(i, n int) stssim.Identity {
	step := max(1, n/tokens)
	return stssim.Identity{
		Profile: fmt.Sprintf("p%d-%d", n, i),
		ARN:     iam.ARN{Partition: "aws", Account: benchAccount, Kind: iam.KindRole, Name: roleName(i * step % n)},
		Session: fmt.Sprintf("session%d", i),
	}
}

// configFile writes a configuration with n roles mapped. Both authenticators
// read it.
func (w *world) configFile(n int, edit func(*config.Server)) (string, error) {
	f := config.File{ClusterID: benchCluster, Server: config.Server{}}
	for i := range n {
		f.Server.MapRoles = append(f.Server.MapRoles, config.MapRole{
			RoleARN: "arn:aws:iam::" + benchAccount + ":role/" + roleName(i), Username: fmt.Sprintf("user%05d", i),
			Groups: []string{"developers", "viewers"},
		})
	}
	name := fmt.Sprintf("config-%d.yaml", n)
	if edit != nil {
		edit(&f.Server)
		name = "config-jwt.yaml"
	}
	data, err := f.Encode()
	if err != nil {
		return "", err
	}
	return w.path(name), os.WriteFile(w.path(name), data, 0o600)
}

func (w *world) options(i, n int) token.Options {
	c := w.state.Ensure(identity(i, n))
	return token.Options{
		ClusterID: benchCluster, Region: benchRegion,
		IgnoreEnvironment: true,
		Credentials:       credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
		HTTPClient:        &http.Client{Transport: inProcess{stssim.New(w.state, stssim.Options{})}},
	}
}

// presigned makes TokenReviews of this moment, each with another token.
func (w *world) presigned(ctx context.Context, n int) ([][]byte, error) {
	return w.reviews(n, func(o token.Options) (token.Token, error) { return token.Presign(ctx, o) })
}

// jwts does the same with JWTs.
func (w *world) jwts(ctx context.Context, n int, algorithm string) ([][]byte, error) {
	return w.reviews(n, func(o token.Options) (token.Token, error) {
		o.Algorithm = algorithm
		return token.JWT(ctx, o)
	})
}

func (w *world) reviews(n int, login func(token.Options) (token.Token, error)) ([][]byte, error) {
	bodies := make([][]byte, tokens)
	for i := range bodies {
		t, err := login(w.options(i, n))
		if err != nil {
			return nil, err
		}
		// As kube-apiserver writes it.
		bodies[i], err = json.Marshal(map[string]any{
			"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1beta1",
			"metadata": map[string]any{"creationTimestamp": nil},
			"spec":     map[string]any{"token": t.Value}, "status": map[string]any{"user": map[string]any{}},
		})
		if err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

// inProcess answers requests by a handler.
type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	r = r.Clone(r.Context())
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	t.handler.ServeHTTP(rec, r)
	return rec.Result(), nil
}
