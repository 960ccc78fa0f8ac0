package authenticator

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/capiam/capiam/pkg/mapping"
)

// renewSoon is how long before its end a certificate is said to be near it.
const renewSoon = 30 * 24 * time.Hour

// webhookMux is what is served over TLS: the original's three paths, and
// readiness.
func (s *Server) webhookMux() http.Handler {
	mux := http.NewServeMux()
	logins := newHandler(s.decider, s.metrics, s.opts.Log, s.opts.Settings.ScrubbedAccounts)
	mux.Handle("/authenticate", logins)
	mux.Handle("/metrics", s.metrics.Handler())
	mux.HandleFunc("/healthz", healthz)
	mux.HandleFunc("/readyz", s.readyz)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		growStack()
		if r.URL.Path == "/authenticate" { // nearly all there is
			logins.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// growStack makes room on the goroutine's stack for all of a login at once. Each
// request has a new goroutine, which begins with 2 KiB. It would be moved to a
// larger stack three times on its way down to the signature's check, each time
// with all that is on it already: a tenth of what a login costs.
//
//go:noinline
func growStack() {
	if never {
		var room [stackOfLogin]byte // what counts is the frame's size
		use(&room)
	}
}

// stackOfLogin makes the stack 16 KiB, the largest that the runtime keeps at
// hand for the next goroutine.
const stackOfLogin = 10 << 10

// never is what the compiler cannot know.
var never = false

//go:noinline
func use(*[stackOfLogin]byte) {}

// healthMux is what is served without TLS. As with the original, any path that
// is nothing else says ok.
func (s *Server) healthMux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", healthz)
	mux.Handle("/metrics", s.metrics.Handler())
	mux.HandleFunc("/readyz", s.readyz)
	return mux
}

// healthz says that the process answers. A restart would mend nothing else.
func healthz(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "ok")
}

// readyz says whether logins can be judged: 200 if the certificate is good, the
// port open and every backend has mappings in force, 503 if not. What is wrong with mappings
// that are in force, or with asking EC2 for nodes' names, is shown, but does not
// make the server unready: that would mend nothing.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	ready := true
	line := func(ok bool, what, detail string) {
		mark := "[+]"
		if !ok {
			mark, ready = "[-]", false
		}
		fmt.Fprintf(&b, "%s%s %s\n", mark, what, detail)
	}
	leaf := s.cert.Leaf()
	if err := s.cert.Check(); err != nil {
		line(false, "certificate", err.Error())
	} else {
		detail := "good until " + leaf.NotAfter.UTC().Format(time.RFC3339)
		if time.Until(leaf.NotAfter) < renewSoon {
			detail += ": renew it soon"
		}
		line(true, "certificate", detail)
	}
	switch {
	case s.takesOver():
		line(true, "webhook", "takes the port over as soon as it is free")
	case !s.listening.Load():
		line(false, "webhook", "does not listen yet")
	}
	for _, st := range s.store.Status() {
		detail := "in force"
		switch {
		case !st.Loaded && st.Problem == "":
			detail = "not loaded yet"
		case !st.Loaded:
			detail = "not loaded: " + st.Problem
		case st.Problem != "":
			detail = "in force is something older: " + st.Problem
		}
		line(st.Loaded, "mappings/"+st.Name, detail)
		writeFindings(&b, st.Findings)
	}
	if problem := s.modes.Problem(); problem != "" {
		line(true, "backends", "in force are others: "+problem)
	}
	if problem := s.ec2.Problem(); problem != "" {
		// Others than nodes get in.
		line(true, "nodenames", "{{EC2PrivateDNSName}} has no value, or not for long: "+problem)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintf(&b, "%d mapped\n", s.store.Len())
	_, _ = io.WriteString(w, b.String())
}

// writeFindings lists what is wrong, up to a number.
func writeFindings(b *strings.Builder, findings []mapping.Finding) {
	const most = 100
	for i, f := range findings {
		if i == most {
			fmt.Fprintf(b, "   ... and %d more\n", len(findings)-most)
			return
		}
		fmt.Fprintf(b, "   %s: %s\n", f.Severity, f.String())
	}
}
