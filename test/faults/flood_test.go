package faults_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/capiam/capiam/pkg/token"
)

const (
	// floodFor is how long a flood lasts.
	floodFor = 3 * time.Second
	// floodRate is how many requests a second a flood aims at.
	floodRate = 1000
	// memoryLimit is what the chart gives the authenticator.
	memoryLimit = 256 << 20
	// newSeries is how many series of metrics a flood may add: the reasons,
	// codes and results that had not been seen before, none of them of a
	// client's making.
	newSeries = 60
)

// What a bogus token may cost the authenticator in CPU time, in bare ES256
// verifications: the request, the call to STS and the log included, and a share
// of the honest logins meanwhile. It is two to four times what it does.
const (
	mostPresigned = 10
	mostRegion    = 6
	mostForged    = 25 // an ES384 verification is nearly nine of ES256
)

// TestFloods: floods of everything that costs the authenticator something do
// not keep honest people out, nor use up memory or metrics.
func TestFloods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	logins := w.keepLoggingIn(t, staff()...)
	began := time.Now()

	w.step("64 MiB bodies", func(t *testing.T) {
		w.withstand(t, func() {
			var wg sync.WaitGroup
			for _, known := range []bool{true, false, true, false} {
				wg.Go(func() { w.sendMuch(t, 64<<20, known) })
			}
			wg.Wait()
		})
		logins.nobodyWasRefused(began)
	})
	w.step("idle connections", func(t *testing.T) {
		w.withstand(t, func() { w.idle(t, logins, began) })
	})
	w.step("bogus tokens", func(t *testing.T) {
		honest := w.honestURL(t)
		signature := regexp.MustCompile("X-Amz-Signature=[0-9a-f]{64}")
		w.flood(t, logins, "wrong_cluster", mostPresigned, func(i int) string {
			return presigned(signature.ReplaceAllString(honest, fmt.Sprintf("X-Amz-Signature=%064x", i)))
		})
	})
	w.step("bogus regions", func(t *testing.T) {
		honest := w.honestURL(t)
		failures := w.sts.Calls().Failures
		w.flood(t, logins, "wrong_host", mostRegion, func(i int) string {
			return presigned(strings.Replace(honest, "sts."+region+".", fmt.Sprintf("sts.xx-bogus-%d.", i), 1))
		})
		if after := w.sts.Calls().Failures; !maps.Equal(failures, after) {
			t.Errorf("STS was called: %v, then %v", failures, after)
		}
	})
	w.step("forged ES384 JWTs", func(t *testing.T) {
		forge := w.forger(t)
		w.flood(t, logins, "bad_signature", mostForged, forge)
	})
	healed := time.Now()
	t.Logf("everybody is in %s after the floods", milliseconds(logins.everybodyGetsIn(healed)))
}

// withstand runs something, checks what it has cost the authenticator in memory
// and metrics, and returns what it has cost in CPU time.
func (w *world) withstand(t *testing.T, run func()) time.Duration {
	t.Helper()
	pid := w.authenticator.pid()
	series, cpu, began := len(w.metrics()), cpuTime(t, pid), time.Now()
	run()
	cpu, took := cpuTime(t, pid)-cpu, time.Since(began)
	added := len(w.metrics()) - series
	now, most := memory(t, pid)
	t.Logf("%s of CPU in %s, %d MiB of memory (%d at most), %d series more", milliseconds(cpu), milliseconds(took), now>>20, most>>20, added)
	if most > memoryLimit {
		t.Errorf("%d MiB of memory, more than the chart's limit of %d", most>>20, memoryLimit>>20)
	}
	if added > newSeries {
		t.Errorf("%d series of metrics more", added)
	}
	return cpu
}

// flood sends the webhook reviews of tokens for a while, which are to be denied
// for a reason; some 503 may be among the answers. Each honest login must work
// meanwhile, whatever the kind of token, and a bogus one cost at most so many bare verifications.
func (w *world) flood(t *testing.T, logins *journal, reason string, most int, token func(i int) string) {
	t.Helper()
	denied := func() float64 {
		n := 0.0
		for name, value := range w.metrics() {
			if strings.HasPrefix(name, `decisions_total{reason="`+reason+`"`) {
				n += value
			}
		}
		return n
	}
	before, began, all := denied(), time.Now(), 0
	cpu := w.withstand(t, func() {
		answers := w.pour(t, token)
		all = sum(answers)
		t.Logf("%d answers: %v", all, answers)
		for status := range answers {
			if status != http.StatusOK && status != http.StatusServiceUnavailable {
				t.Errorf("status %d", status)
			}
		}
	})
	if denied() == before {
		t.Errorf("nothing was denied as %s", reason)
	}
	each := cpu / time.Duration(all+len(logins.since(began)))
	bare := bareVerification(t)
	t.Logf("%s of CPU each, %.1f bare ES256 verifications", each, float64(each)/float64(bare))
	if each > time.Duration(most)*bare {
		t.Errorf("a token costs %s of CPU, more than %d bare ES256 verifications of %s", each, most, bare)
	}
	// Those logins count too that were begun in the flood and end after it.
	logins.everybodyGetsIn(time.Now())
	slowest := time.Duration(0)
	tried := map[person]int{}
	for _, o := range logins.since(began) {
		tried[o.who]++
		slowest = max(slowest, o.took)
		if !o.granted {
			t.Error(o)
		}
	}
	for _, p := range logins.who {
		t.Logf("%s: %d logins", p.name, tried[p])
		if tried[p] == 0 {
			t.Errorf("%s has not tried to log in", p.name)
		}
	}
	t.Logf("the slowest took %s", milliseconds(slowest))
}

// bareVerification returns the CPU time that one ES256 signature takes to verify
// with nothing around it, here and now: what CPU is worth on this machine. P-256
// is written in assembly, so the race detector, which the authenticator is not
// built with, does not slow it down.
func bareVerification(t *testing.T) time.Duration {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("signed"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	// The clock of CPU time is that of this thread: others are at work, too.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const times = 200
	began := threadTime(t)
	for range times {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			t.Fatal("the signature is wrong")
		}
	}
	return (threadTime(t) - began) / times
}

// pour sends reviews at floodRate for floodFor, as far as this machine can, and
// returns how many answers there were of each status. An answer that does not
// come counts as status 0.
func (w *world) pour(t *testing.T, token func(i int) string) map[int]int {
	t.Helper()
	const workers = 64
	client := w.webhookClient(t, workers)
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), floodFor)
	defer cancel()
	jobs := make(chan int, floodRate)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		answers = map[int]int{}
	)
	for range workers {
		wg.Go(func() {
			for i := range jobs {
				status, _ := review(t.Context(), client, w.webhookURL(), token(i))
				mu.Lock()
				answers[status]++
				mu.Unlock()
			}
		})
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for i := 0; ctx.Err() == nil; {
		for range floodRate / 100 {
			select {
			case jobs <- i:
				i++
			default: // this machine is not fast enough
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	close(jobs)
	wg.Wait()
	return answers
}

func sum(answers map[int]int) int {
	n := 0
	for _, k := range answers {
		n += k
	}
	return n
}

// webhookClient talks to the webhook as the API server does.
func (w *world) webhookClient(t *testing.T, conns int) *http.Client {
	t.Helper()
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: w.webhookTLS(t), MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns,
	}}
}

// review asks the webhook about a token. The answer is its body.
func review(ctx context.Context, client *http.Client, url, token string) (status int, body []byte) {
	data := `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"` + token + `"}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(data))
	if err != nil {
		return 0, nil
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		return 0, nil
	}
	return resp.StatusCode, body
}

// honestURL is the request in one of Paula's tokens.
func (w *world) honestURL(t *testing.T) string {
	t.Helper()
	tok, _, err := w.token(t.Context(), paula)
	if err != nil {
		t.Fatal(err)
	}
	url, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(tok.Value, token.Prefix))
	if err != nil {
		t.Fatal(err)
	}
	return string(url)
}

func presigned(url string) string {
	return token.Prefix + base64.RawURLEncoding.EncodeToString([]byte(url))
}

// forger makes tokens that are Esther's but for their jti and signature: the
// signature is all there is to find wrong.
func (w *world) forger(t *testing.T) func(i int) string {
	t.Helper()
	tok, _, err := w.token(t.Context(), esther)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(strings.TrimPrefix(tok.Value, token.Prefix), ".")
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &claims); err != nil {
		t.Fatal(err)
	}
	return func(i int) string {
		forged := maps.Clone(claims)
		forged["jti"] = json.RawMessage(fmt.Sprintf(`"forged-%d"`, i))
		data, err := json.Marshal(forged)
		if err != nil {
			t.Error(err)
		}
		signature := make([]byte, 96)
		_, _ = rand.Read(signature) // never fails
		signature[0], signature[48] = 0, 0
		enc := base64.RawURLEncoding.EncodeToString
		return token.Prefix + parts[0] + "." + enc(data) + "." + enc(signature)
	}
}

// sendMuch sends a review of so many bytes. The webhook must not take it all:
// it answers 413, or hangs up on whoever goes on.
func (w *world) sendMuch(t *testing.T, size int64, sizeKnown bool) {
	client := w.webhookClient(t, 1)
	defer client.CloseIdleConnections()
	body := &endless{}
	body.left.Store(size)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.webhookURL(), body)
	if err != nil {
		t.Error(err)
		return
	}
	if sizeKnown {
		req.ContentLength = size
	}
	resp, err := client.Do(req)
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	if sent := size - body.left.Load(); sent > 16<<20 {
		t.Errorf("%d MiB were taken", sent>>20)
	}
}

// endless is a body of so many letters. It may still be read when the answer is
// there.
type endless struct{ left atomic.Int64 }

func (e *endless) Read(b []byte) (int, error) {
	n := min(int64(len(b)), e.left.Load())
	if n == 0 {
		return 0, io.EOF
	}
	copy(b, bytes.Repeat([]byte("a"), int(n)))
	e.left.Add(-n)
	return int(n), nil
}

// idle opens connections and leaves them alone: 10,000 or as many as this
// process may, some of them with their handshake made.
func (w *world) idle(t *testing.T, logins *journal, began time.Time) {
	const (
		want       = 10_000
		spare      = 2_000 // for everything else
		handshakes = 700   // more than the authenticator keeps
		workers    = 16
	)
	n := min(want, openFiles(t)-spare)
	if n < handshakes {
		t.Skipf("this process may open only %d files", openFiles(t))
	}
	if n < want {
		t.Logf("only %d connections: this process may open %d files", n, openFiles(t))
	}
	config := w.webhookTLS(t)
	conns := make([]net.Conn, n)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	jobs := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range jobs {
				conn, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", w.webhookAddr())
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					continue
				}
				conns[i] = conn
				if i < n-handshakes {
					continue
				}
				secure := tls.Client(conn, config)
				if err := secure.HandshakeContext(t.Context()); err != nil && !errors.Is(err, io.EOF) {
					// It may have been thrown out already.
					continue
				}
			}
		})
	}
	for i := range n {
		jobs <- i
	}
	close(jobs)
	wg.Wait()
	logins.nobodyWasRefused(began)
	eventually(t, "the authenticator keeps few of them", func(context.Context) bool {
		open, known := w.metrics()["process_open_fds"]
		return !known || open < 1000
	})
	t.Logf("%d connections, of which the authenticator has %.0f files open", n, w.metrics()["process_open_fds"])
}
