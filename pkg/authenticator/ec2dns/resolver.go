package ec2dns

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/capiam/capiam/pkg/authenticator/outbound"
	"github.com/capiam/capiam/pkg/authenticator/reason"
	"github.com/capiam/capiam/pkg/iam"
)

const (
	// gather is how long a call waits for more instances to ask about.
	gather = 10 * time.Millisecond
	// maxBatch is how many are asked about at once; EC2 takes 200 values.
	maxBatch = 100
	// callWait bounds a call.
	callWait = 5 * time.Second
	// maxAsking bounds the logins that wait for a name. While EC2 does not
	// answer, the rest of the places for logins is for those that need none.
	maxAsking = 384
	// keepFor and maxKept bound the names that are remembered.
	keepFor = time.Hour
	maxKept = 20_000
)

// Options say where and how EC2 is asked.
type Options struct {
	// Region is where EC2 is asked. If it is empty, it is the AWS
	// configuration's, or else the one this machine is in, which EC2's instance
	// metadata tell.
	Region    string
	Partition iam.Partition
	// RoleARN is assumed for the calls, if set; SourceARN then guards against
	// a confused deputy.
	RoleARN, SourceARN string
	// QPS and Burst bound the calls: so many a second, so many at once after a
	// pause.
	QPS, Burst int
	// Endpoint is an https URL instead of the region's own; mostly empty.
	Endpoint string
	Network  outbound.Network
	// Credentials are used instead of the standard chain's, if set.
	Credentials aws.CredentialsProvider
	Log         *slog.Logger
	// Observe is called with each call. It may be nil.
	Observe func()
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// Resolver finds names, while Run keeps what it asks EC2 with. It is safe for
// concurrent use; Close ends calls.
type Resolver struct {
	opts   Options
	client *client

	life  context.Context //nolint:containedctx // the resolver's own, ended by Close
	stop  context.CancelFunc
	owned sync.WaitGroup

	mu      sync.Mutex
	known   map[string]name
	waiting map[string]*lookup
	// asking counts who waits for one of them.
	asking int
	// queue holds the instances of waiting that no call has been made for.
	queue   []string
	running bool
	tokens  float64
	filled  time.Time

	// needed says that names are; changed wakes Run when that changes.
	needed  bool
	changed chan struct{}
	// access is nil until there is one, and region empty until it is known.
	// Problem says why neither, or nothing newer, could be had.
	access  *access
	region  string
	problem string
}

type name struct {
	text  string
	until time.Time
}

// lookup is an instance being asked about.
type lookup struct {
	done chan struct{}
	name string
	err  error
}

// New returns a resolver.
func New(opts Options) *Resolver {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Observe == nil {
		opts.Observe = func() {}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	opts.QPS, opts.Burst = max(1, opts.QPS), max(1, opts.Burst)
	r := &Resolver{
		opts: opts, client: newClient(opts),
		known: map[string]name{}, waiting: map[string]*lookup{},
		changed: make(chan struct{}, 1), region: opts.Region,
		tokens: float64(opts.Burst), filled: opts.Now(),
	}
	r.life, r.stop = context.WithCancel(context.Background())
	return r
}

// Close ends calls under way and waits for them.
func (r *Resolver) Close() {
	r.stop()
	r.owned.Wait()
	r.client.transport.CloseIdleConnections()
}

// PrivateDNSName returns the name of an instance. An instance without one, or
// that EC2 does not know, is an error, never an empty name, and so is one that
// is asked for before there are credentials to ask with. Errors are
// *reason.Denial.
func (r *Resolver) PrivateDNSName(ctx context.Context, instanceID string) (string, error) {
	r.mu.Lock()
	if n, ok := r.known[instanceID]; ok && r.opts.Now().Before(n.until) {
		r.mu.Unlock()
		return n.text, nil
	}
	if r.access == nil {
		defer r.mu.Unlock()
		return "", r.noAccess()
	}
	if r.asking == maxAsking {
		defer r.mu.Unlock()
		return "", reason.New(reason.Overloaded, "too many wait for EC2 to tell the name of an instance")
	}
	r.asking++
	defer r.asked()
	l := r.waiting[instanceID]
	if l == nil {
		l = &lookup{done: make(chan struct{})}
		r.waiting[instanceID] = l
		r.queue = append(r.queue, instanceID)
		if !r.running && r.life.Err() == nil {
			r.running = true
			r.owned.Go(r.work)
		}
	}
	r.mu.Unlock()
	select {
	case <-l.done:
		return l.name, l.err
	case <-ctx.Done():
		return "", reason.Wrap(reason.EC2Unreachable, "EC2 did not answer in time", ctx.Err())
	case <-r.life.Done():
		return "", reason.New(reason.EC2Unreachable, "the server is stopping")
	}
}

func (r *Resolver) asked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asking--
}

// work makes calls until nothing is queued.
func (r *Resolver) work() {
	for {
		if !r.pause(gather) || !r.pause(r.delay()) {
			return
		}
		r.mu.Lock()
		n := min(len(r.queue), maxBatch)
		batch := append([]string(nil), r.queue[:n]...)
		r.queue = r.queue[n:]
		if n == 0 {
			r.running, r.queue = false, nil
			r.mu.Unlock()
			return
		}
		with := r.access
		r.mu.Unlock()
		r.opts.Observe()
		ctx, cancel := context.WithTimeout(r.life, callWait)
		names, err := r.client.describe(ctx, with, batch)
		cancel()
		r.settle(batch, with.region, names, err)
	}
}

// pause waits, and tells whether the resolver is still wanted.
func (r *Resolver) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.life.Done():
		return false
	}
}

// delay takes a call out of the allowance and returns how long it has to wait.
func (r *Resolver) delay() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Now()
	r.tokens = min(float64(r.opts.Burst), r.tokens+now.Sub(r.filled).Seconds()*float64(r.opts.QPS))
	r.filled = now
	r.tokens--
	if r.tokens >= 0 {
		return 0
	}
	return time.Duration(-r.tokens / float64(r.opts.QPS) * float64(time.Second))
}

// settle hands the answers out.
func (r *Resolver) settle(batch []string, region string, names map[string]string, err error) {
	if err != nil {
		r.opts.Log.Warn("EC2 not asked for instances' names", "instances", len(batch), "error", err.Error())
	}
	now := r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, n := range r.known {
		if len(r.known)+len(names) <= maxKept && now.Before(n.until) {
			continue
		}
		delete(r.known, id)
	}
	for _, id := range batch {
		l := r.waiting[id]
		delete(r.waiting, id)
		switch {
		case err != nil:
			l.err = reason.Wrap(reason.EC2Unreachable, "EC2 could not be asked for the name of "+id, err)
		case names[id] == "":
			l.err = reason.Wrap(reason.TemplateUnfilled, "{{EC2PrivateDNSName}}: EC2 knows no private DNS name of "+id+" in "+region, errUnknown)
		default:
			l.name = names[id]
			r.known[id] = name{text: l.name, until: now.Add(keepFor)}
		}
		close(l.done)
	}
}

var errUnknown = errors.New("instance not found, or without a private DNS name")
