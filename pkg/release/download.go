package release

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Limits bound what a server or an archive can make capiam store.
type Limits struct {
	// Download is the size of an archive in bytes.
	Download int64
	// Unpacked is the size of all that is in an archive, in bytes.
	Unpacked int64
	// Entries is the number of files in an archive.
	Entries int
}

// DefaultLimits are several times the size of the largest client.
func DefaultLimits() Limits {
	return Limits{Download: 512 << 20, Unpacked: 2 << 30, Entries: 10_000}
}

// Downloader gets archives and documents. The zero value is ready to use.
type Downloader struct {
	// Client makes the requests; NewHTTPClient's if nil.
	Client *http.Client
	// Mirror is a URL that stands for the publisher's scheme and host; see
	// CheckMirror.
	Mirror string
	// Limits are DefaultLimits if zero.
	Limits Limits
	// Attempts is how often a download is tried, 5 if zero. What has arrived
	// is kept between them where the server can go on from there.
	Attempts int
	// Wait pauses before an attempt, counted from 1. It backs off from one
	// second if nil.
	Wait func(ctx context.Context, attempt int) error
	// Stall is how long a server may send nothing, a minute if zero.
	Stall time.Duration
	// Progress is told how many bytes of how many have arrived; total is -1
	// if the server does not say.
	Progress func(done, total int64)
	// Retrying is told why an attempt failed that will be followed by
	// another.
	Retrying func(attempt int, err error)
}

func (d *Downloader) limits() Limits {
	if d.Limits == (Limits{}) {
		return DefaultLimits()
	}
	return d.Limits
}

func (d *Downloader) client() *http.Client {
	if d.Client == nil {
		return NewHTTPClient(HTTPOptions{})
	}
	return d.Client
}

// permanentError is one that another attempt would meet again.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// sink is where a download goes. Reset forgets what has arrived.
type sink interface {
	io.Writer
	Reset() error
}

// get downloads uri, at most limit bytes, into a sink.
func (d *Downloader) get(ctx context.Context, uri string, limit int64, into sink) error {
	client := d.client()
	if d.Client == nil {
		defer client.CloseIdleConnections()
	}
	attempts := d.Attempts
	if attempts == 0 {
		attempts = 5
	}
	t := &transfer{uri: uri, limit: limit, into: into, total: -1, progress: d.Progress, stall: d.Stall}
	if t.stall == 0 {
		t.stall = time.Minute
	}
	for attempt := 1; ; attempt++ {
		err := t.try(ctx, client)
		if err == nil {
			return nil
		}
		var permanent permanentError
		if ctx.Err() != nil || errors.As(err, &permanent) || attempt == attempts {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return t.explain(err, attempt)
		}
		if d.Retrying != nil {
			d.Retrying(attempt, errors.New(t.clean(err)))
		}
		wait := d.Wait
		if wait == nil {
			wait = backOff
		}
		if err := wait(ctx, attempt); err != nil {
			return t.explain(err, attempt)
		}
	}
}

// backOff waits one second, then two, four, and at most eight.
func backOff(ctx context.Context, attempt int) error {
	timer := time.NewTimer(time.Second << min(attempt-1, 3))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// transfer is one download over all its attempts.
type transfer struct {
	uri      string
	limit    int64
	into     sink
	done     int64
	total    int64
	progress func(done, total int64)
	stall    time.Duration
	// tag identifies the content that has arrived so far, for If-Range. A
	// server that gives no strong one makes each attempt start anew.
	tag string
}

var errStalled = errors.New("the server stopped sending")

func (t *transfer) try(ctx context.Context, client *http.Client) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.uri, nil)
	if err != nil {
		return permanentError{err}
	}
	request.Header.Set("User-Agent", "capiam")
	if t.done > 0 && t.tag != "" {
		request.Header.Set("Range", "bytes="+strconv.FormatInt(t.done, 10)+"-")
		request.Header.Set("If-Range", t.tag)
	}
	response, err := client.Do(request)
	if err != nil {
		return permanentIfHopeless(err)
	}
	defer response.Body.Close()
	if err := t.begin(response); err != nil {
		return err
	}
	timer := time.AfterFunc(t.stall, func() { cancel(errStalled) })
	defer timer.Stop()
	err = t.copy(response.Body, func() { timer.Reset(t.stall) })
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errStalled) {
		return errStalled
	}
	return err
}

// permanentIfHopeless marks what waiting does not mend: a name that does not
// exist, a certificate that is not trusted, a redirect that was refused.
func permanentIfHopeless(err error) error {
	var (
		noName   *net.DNSError
		badCert  *tls.CertificateVerificationError
		redirect *redirectError
	)
	if (errors.As(err, &noName) && noName.IsNotFound) || errors.As(err, &badCert) || errors.As(err, &redirect) {
		return permanentError{err}
	}
	return err
}

// begin looks at the answer's head and decides whether it continues what has
// arrived or starts anew.
func (t *transfer) begin(response *http.Response) error {
	switch code := response.StatusCode; {
	case code == http.StatusPartialContent && t.done > 0:
		var first, last, total int64
		if n, err := fmt.Sscanf(response.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); err != nil || n != 3 || first != t.done {
			return permanentError{fmt.Errorf("the server answered another range than was asked for: %q", response.Header.Get("Content-Range"))}
		}
		t.total = total
	case code == http.StatusOK:
		if err := t.into.Reset(); err != nil {
			return permanentError{err}
		}
		t.done, t.total = 0, response.ContentLength
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= 500:
		return fmt.Errorf("the server answered %s", response.Status)
	default:
		return permanentError{fmt.Errorf("the server answered %s", response.Status)}
	}
	t.tag = ""
	if tag := response.Header.Get("ETag"); strings.HasPrefix(tag, `"`) {
		t.tag = tag
	}
	if t.total > t.limit {
		return permanentError{fmt.Errorf("it has %d bytes, and the limit is %d", t.total, t.limit)}
	}
	return nil
}

func (t *transfer) copy(body io.Reader, alive func()) error {
	buffer := make([]byte, 128<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			alive()
			if t.done+int64(n) > t.limit {
				return permanentError{fmt.Errorf("it has more than %d bytes, the limit", t.limit)}
			}
			if _, err := t.into.Write(buffer[:n]); err != nil {
				return permanentError{err}
			}
			t.done += int64(n)
			if t.progress != nil {
				t.progress(t.done, t.total)
			}
		}
		switch {
		case errors.Is(err, io.EOF) && t.total >= 0 && t.done != t.total:
			return io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func (t *transfer) explain(err error, attempts int) error {
	what := "download " + redacted(t.uri)
	if t.done > 0 && t.total > 0 {
		what += fmt.Sprintf(" stopped at %d of %d bytes", t.done, t.total)
	}
	if attempts > 1 {
		what += fmt.Sprintf(" (%d attempts)", attempts)
	}
	return &downloadError{text: what + ": " + t.clean(err), cause: err}
}

// clean is the error's text without the URL, which net/http repeats with its
// query, and without what is only Go's name for things.
func (t *transfer) clean(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection ended early"
	}
	text := err.Error()
	for _, uri := range []string{strconv.Quote(t.uri), strconv.Quote(redacted(t.uri)), strconv.Quote(strippedPassword(t.uri))} {
		text = strings.TrimPrefix(text, "Get "+uri+": ")
	}
	return text
}

type downloadError struct {
	text  string
	cause error
}

func (e *downloadError) Error() string { return e.text }
func (e *downloadError) Unwrap() error { return e.cause }
