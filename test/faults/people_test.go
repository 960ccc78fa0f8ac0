package faults_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/login"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/stssim"
	"github.com/capiam/capiam/pkg/token"
)

// person is somebody who logs in, by a role of the same name.
type person struct {
	name      string
	account   string
	kind      login.TokenKind
	algorithm string
}

// Those who stay mapped, and by what they log in.
var (
	paula  = person{"Paula", account, login.Presigned, ""}
	pedro  = person{"Pedro", account, login.Presigned, ""}
	rosa   = person{"Rosa", account, login.JWT, token.RS256}
	esther = person{"Esther", account, login.JWT, token.ES384}

	// rotator and silent have issuers that misbehave.
	rotator = person{"Rotator", rotatingAccount, login.JWT, token.RS256}
	silent  = person{"Silent", silentAccount, login.JWT, token.RS256}

	// leaver is to be unmapped, joiner to be mapped.
	leaver = person{"Leaver", account, login.Presigned, ""}
	joiner = person{"Joiner", account, login.Presigned, ""}
)

// staff are those who log in all the time.
func staff() []person { return []person{paula, pedro, rosa, esther} }

// everybody are those who are mapped at first.
func everybody() []person { return append(staff(), rotator, silent, leaver) }

func (p person) arn() iam.ARN {
	return iam.ARN{Partition: "aws", Account: p.account, Kind: iam.KindRole, Name: p.name}
}

// entry maps the person. Pedro's has a template in it.
func (p person) entry() mapping.Entry {
	e := mapping.Entry{ARN: p.arn().String(), Username: "user:" + p.name, Groups: []string{"system:masters"}}
	if p == pedro {
		e.Username = "{{SessionName}}:" + p.name
	}
	return e
}

func mappings(people ...person) mapping.Mappings {
	var m mapping.Mappings
	for _, p := range people {
		m.Roles = append(m.Roles, p.entry())
	}
	return m
}

// table is an aws-auth that maps the people.
func table(people ...person) map[string]string { return mapping.Encode(mappings(people...)) }

const awsAuth = "aws-auth"

// setAWSAuth writes the ConfigMap.
func (w *world) setAWSAuth(data map[string]string) {
	w.t.Helper()
	maps := w.kube.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: awsAuth, Namespace: metav1.NamespaceSystem}, Data: data}
	_, err := maps.Update(w.t.Context(), object, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = maps.Create(w.t.Context(), object, metav1.CreateOptions{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// deleteAWSAuth deletes the ConfigMap.
func (w *world) deleteAWSAuth() {
	w.t.Helper()
	if err := w.kube.CoreV1().ConfigMaps(metav1.NamespaceSystem).Delete(w.t.Context(), awsAuth, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// outcome is what came of a login.
type outcome struct {
	who     person
	started time.Time
	took    time.Duration
	granted bool
	// err is why the API server could not be asked, or that it took the person
	// for somebody else; with neither, it answered 401.
	err error
}

func (o outcome) String() string {
	switch {
	case o.granted:
		return fmt.Sprintf("%s was let in after %s", o.who.name, milliseconds(o.took))
	case o.err != nil:
		return fmt.Sprintf("%s had an error: %v", o.who.name, o.err)
	}
	return fmt.Sprintf("%s was refused after %s", o.who.name, milliseconds(o.took))
}

// token makes a token that nobody has had before: each is for another session.
func (w *world) token(ctx context.Context, p person) (token.Token, string, error) {
	session := fmt.Sprintf("s%d", w.sessions.Add(1))
	c := w.state.Ensure(stssim.Identity{Profile: p.name, ARN: p.arn(), Session: session})
	tok, err := login.Make(ctx, p.kind, token.Options{
		ClusterID: w.record.ClusterID, Region: region, Algorithm: p.algorithm, HTTPClient: w.mint, IgnoreEnvironment: true,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
	})
	return tok, session, err
}

// login lets a person try to log in once, with a new token.
func (w *world) login(ctx context.Context, p person) outcome {
	tok, session, err := w.token(ctx, p)
	if err != nil {
		return outcome{who: p, started: time.Now(), err: fmt.Errorf("make a token: %w", err)}
	}
	return w.loginWith(ctx, p, tok, session)
}

// loginWith tries a token; session is whose it is.
func (w *world) loginWith(ctx context.Context, p person, tok token.Token, session string) outcome {
	o := outcome{who: p, started: time.Now()}
	result, err := w.cluster.Try(ctx, tok)
	o.took, o.err = time.Since(o.started), err
	if err != nil || result.Refused {
		return o
	}
	want := p.entry().Username
	if p == pedro {
		want = session + ":" + p.name
	}
	if result.Username != want {
		o.err = fmt.Errorf("taken for %q, want %q", result.Username, want)
		return o
	}
	o.granted = true
	return o
}

// untilGranted logs in until that works, and returns how long that took.
func (w *world) untilGranted(p person) time.Duration {
	w.t.Helper()
	return eventually(w.t, p.name+" is let in", func(ctx context.Context) bool { return w.login(ctx, p).granted })
}

// untilRefused logs in until that is refused.
func (w *world) untilRefused(p person) time.Duration {
	w.t.Helper()
	return eventually(w.t, p.name+" is refused", func(ctx context.Context) bool {
		o := w.login(ctx, p)
		return !o.granted && o.err == nil
	})
}

// mustBeGranted and mustBeRefused log in once.
func (w *world) mustBeGranted(people ...person) {
	w.t.Helper()
	for _, p := range people {
		if o := w.login(w.t.Context(), p); !o.granted {
			w.t.Error(o)
		}
	}
}

func (w *world) mustBeRefused(people ...person) {
	w.t.Helper()
	for _, p := range people {
		if o := w.login(w.t.Context(), p); o.granted || o.err != nil {
			w.t.Error(o)
		}
	}
}

// journal is what came of people's logins.
type journal struct {
	world *world
	t     *testing.T
	who   []person

	mu  sync.Mutex
	all []outcome
}

// loginEvery is the pause between two logins of one person.
const loginEvery = 50 * time.Millisecond

// keepLoggingIn has each of the people log in all the time, until the test
// ends.
func (w *world) keepLoggingIn(t *testing.T, people ...person) *journal {
	t.Helper()
	j := &journal{world: w, t: t, who: people}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	for _, p := range people {
		running.Go(func() {
			for ctx.Err() == nil {
				o := w.login(ctx, p)
				if ctx.Err() != nil {
					return
				}
				j.mu.Lock()
				j.all = append(j.all, o)
				j.mu.Unlock()
				pause(ctx, loginEvery)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	j.everybodyGetsIn(time.Now())
	return j
}

// since returns the logins that were begun then or later.
func (j *journal) since(from time.Time) []outcome {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []outcome
	for _, o := range j.all {
		if !o.started.Before(from) {
			found = append(found, o)
		}
	}
	return found
}

// everybodyGetsIn waits until a login of each that began then or later has
// worked, and returns how long after then the last of them was in.
func (j *journal) everybodyGetsIn(from time.Time) time.Duration {
	j.t.Helper()
	var last time.Duration
	eventuallyElse(j.t, "everybody gets in", func(context.Context) bool {
		in := map[person]time.Duration{}
		for _, o := range j.since(from) {
			if _, known := in[o.who]; o.granted && !known {
				in[o.who] = o.started.Add(o.took).Sub(from)
			}
		}
		last = 0
		for _, took := range in {
			last = max(last, took)
		}
		return len(in) == len(j.who)
	}, func() string {
		all := j.since(from)
		return fmt.Sprint(all[max(0, len(all)-10):])
	})
	return last
}

// nobodyWasRefused checks that every login since then has worked, those of
// this moment included.
func (j *journal) nobodyWasRefused(from time.Time) {
	j.t.Helper()
	j.everybodyGetsIn(time.Now())
	const most = 5
	bad, all := 0, j.since(from)
	for _, o := range all {
		if o.granted {
			continue
		}
		if bad++; bad <= most {
			j.t.Errorf("%s later: %s", milliseconds(o.started.Sub(from)), o)
		}
	}
	if bad > 0 {
		j.t.Errorf("%d of %d logins did not work", bad, len(all))
	}
}
