package stssim

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/capiam/capiam/pkg/iam"
)

// Options of a Server. The zero value works.
type Options struct {
	// Clock is time.Now if nil.
	Clock func() time.Time
	// Log gets one line per request, never with a secret; nil is silent.
	Log *slog.Logger
}

// Server answers for the simulated names, as a handler that goes by the
// request's Host. Listen and ListenProxy put it on the network.
type Server struct {
	state  *State
	clock  func() time.Time
	log    *slog.Logger
	faults faultSet
	counts counterSet

	leafMu sync.Mutex
	leafCA *authority
	leaves map[string]*tls.Certificate
}

// Actions a fault or a counter can name, besides those of STS itself.
const (
	ActionDiscovery = "Discovery" // an issuer's openid-configuration
	ActionKeys      = "Keys"      // an issuer's jwks.json
)

const (
	apiVersion = "2011-06-15"
	maxBody    = 64 << 10
)

// New returns a Server that answers from the state. The state may change while
// it does.
func New(state *State, opts Options) *Server {
	s := &Server{state: state, clock: opts.Clock, log: opts.Log}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.faults.clock = s.clock
	return s
}

// Names returns every host name the Server answers for, sorted.
func (s *Server) Names() []string {
	names := s.state.hosts().Names()
	names = append(names, s.state.issuerHosts()...)
	slices.Sort(names)
	return names
}

// serves tells whether the Server answers for a host name.
func (s *Server) serves(host string) bool {
	if _, ok := s.state.hosts().Lookup(host); ok {
		return true
	}
	_, ok := s.state.issuerAccount(host)
	return ok
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := strings.TrimSuffix(r.Host, ":443")
	if account, ok := s.state.issuerAccount(host); ok {
		s.serveIssuer(w, r, host, account)
		return
	}
	endpoint, ok := s.state.hosts().Lookup(host)
	if !ok {
		http.Error(w, "this simulated STS does not answer for the host asked for", http.StatusMisdirectedRequest)
		return
	}
	s.serveSTS(w, r, endpoint)
}

// serveSTS answers a request to an STS endpoint.
func (s *Server) serveSTS(w http.ResponseWriter, r *http.Request, endpoint iam.STSHost) {
	req, fail := readRequest(w, r, endpoint)
	s.counts.request(req.action)
	if s.fault(w, r, endpoint.Name, req.action) {
		return
	}
	var result any
	var who caller
	if fail == nil {
		who, fail = s.authenticate(r, req)
	}
	if fail == nil {
		result, fail = s.act(req, who)
	}
	if fail != nil {
		s.counts.failure(fail.code)
		s.log.LogAttrs(r.Context(), slog.LevelInfo, "simulated STS refused a request",
			slog.String("host", endpoint.Name), slog.String("action", req.action), slog.String("code", fail.code))
		writeError(w, r, fail)
		return
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "simulated STS answered a request",
		slog.String("host", endpoint.Name), slog.String("action", req.action), slog.String("arn", who.callerARN()))
	writeResult(w, r, req.action, result)
}

// request is what came to an STS endpoint.
type request struct {
	endpoint iam.STSHost
	// region is what the signature must be scoped to.
	region string
	// action is one of ours, or "Unknown".
	action string
	// query is the URL's; params is the query and the form together.
	query, params []param
	body          []byte
}

// param returns a parameter's value, or "".
func (r *request) param(name string) string {
	v, _ := first(r.params, name)
	return v
}

// readRequest reads all of a request. The action is known as far as it could
// be read, so that faults and counters can go by it.
func readRequest(w http.ResponseWriter, r *http.Request, endpoint iam.STSHost) (*request, *apiError) {
	req := &request{endpoint: endpoint, region: endpoint.Region, action: "Unknown"}
	if req.region == "" {
		req.region = "us-east-1"
	}
	var err error
	if req.query, err = parseParams(r.URL.RawQuery); err != nil {
		return req, &apiError{http.StatusBadRequest, "MalformedQueryString", "The query string contains a syntax error."}
	}
	req.params = req.query
	req.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
		return req, &apiError{http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "Request body is too large"}
	} else if err != nil {
		return req, errValidation("Could not read the request's body")
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		form, err := parseParams(string(req.body))
		if err != nil {
			return req, &apiError{http.StatusBadRequest, "MalformedQueryString", "The request's form contains a syntax error."}
		}
		req.params = slices.Concat(req.query, form)
	}
	name := req.param("Action")
	if _, ok := actions[name]; ok {
		req.action = name
	}
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		return req, &apiError{http.StatusMethodNotAllowed, "MethodNotAllowed", "STS takes GET and POST"}
	case r.URL.Path != "/" && r.URL.Path != "":
		return req, &apiError{http.StatusNotFound, "UnknownOperationException", "STS answers at / only"}
	case req.action == "Unknown" || req.param("Version") != apiVersion:
		version := req.param("Version")
		if version == "" {
			version = "NO_VERSION_SPECIFIED"
		}
		return req, &apiError{http.StatusBadRequest, "InvalidAction", fmt.Sprintf("Could not find operation %s for version %s", name, version)}
	}
	return req, nil
}

// authenticate finds out who signed a request.
func (s *Server) authenticate(r *http.Request, req *request) (caller, *apiError) {
	sig, fail := readSignature(r, req.query)
	if fail != nil {
		return caller{}, fail
	}
	now := s.clock()
	who, fail := s.state.caller(sig.accessKeyID, sig.sessionToken)
	if fail != nil {
		return caller{}, fail
	}
	if fail := sig.check(r, req.query, req.body, who.secret, req.region, now); fail != nil {
		return caller{}, fail
	}
	// Only who holds the secret learns that the credentials have expired.
	if !who.expires.IsZero() && !now.Before(who.expires) {
		return caller{}, errExpiredToken
	}
	return who, nil
}
