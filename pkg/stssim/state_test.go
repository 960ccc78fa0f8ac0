package stssim

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/capiam/capiam/pkg/iam"
)

func TestEnsureIsIdempotent(t *testing.T) {
	t.Parallel()
	state := newTestState(t)
	alice := Identity{Profile: "alice", ARN: mustARN(t, "arn:aws:iam::111122223333:user/Alice")}
	dev := Identity{Profile: "dev", ARN: mustARN(t, "arn:aws:iam::111122223333:role/Dev")}
	for _, id := range []Identity{alice, dev} {
		first, second := state.Ensure(id), state.Ensure(id)
		if *first != *second {
			t.Errorf("%s: different credentials the second time", id.Profile)
		}
	}
	second := dev
	second.Profile = "dev2"
	if *state.Ensure(dev) == *state.Ensure(second) {
		t.Error("two profiles share credentials")
	}
	one, fail := state.caller(state.Ensure(dev).AccessKeyID, state.Ensure(dev).SessionToken)
	two, fail2 := state.caller(state.Ensure(second).AccessKeyID, state.Ensure(second).SessionToken)
	if fail != nil || fail2 != nil || one.userID != two.userID {
		t.Errorf("two profiles of one role have IDs %s and %s", one.userID, two.userID)
	}
}

func TestStateSurvivesARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sts.json")
	if _, err := Load(path, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v, want fs.ErrNotExist", err)
	}
	state := newTestState(t)
	alice := Identity{Profile: "alice", ARN: mustARN(t, "arn:aws:iam::111122223333:user/Alice")}
	dev := Identity{Profile: "dev", ARN: mustARN(t, "arn:aws:iam::111122223333:role/Dev")}
	state.Ensure(alice)
	state.Ensure(dev)
	if err := state.Save(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	again, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []Identity{alice, dev} {
		if *again.Ensure(id) != *state.Ensure(id) {
			t.Errorf("%s: other credentials after a restart", id.Profile)
		}
	}
	if again.IssuerURL(account) != state.IssuerURL(account) || string(again.CAPEM()) != string(state.CAPEM()) {
		t.Error("the issuer or the CA changed")
	}
	_, key, _ := state.signingKey(account, algRS256)
	if _, key2, fail := again.signingKey(account, algRS256); fail != nil || key.PEM != key2.PEM {
		t.Error("the issuer's keys changed")
	}

	// Another process adds somebody.
	bob := Identity{Profile: "bob", ARN: mustARN(t, "arn:aws:iam::111122223333:user/Bob")}
	creds := again.Ensure(bob)
	if err := again.Save(path); err != nil {
		t.Fatal(err)
	}
	if _, fail := state.caller(creds.AccessKeyID, ""); fail != errUnknownToken {
		t.Error("known before reloading")
	}
	if err := state.Reload(path); err != nil {
		t.Fatal(err)
	}
	if who, fail := state.caller(creds.AccessKeyID, ""); fail != nil || who.callerARN() != bob.ARN.String() {
		t.Errorf("after reloading: %v %v", who.callerARN(), fail)
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	t.Parallel()
	good := newTestState(t)
	good.Ensure(Identity{Profile: "alice", ARN: mustARN(t, "arn:aws:iam::111122223333:user/Alice")})
	b, err := good.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string][2]string{
		"version":   {`"version":1`, `"version":2`},
		"partition": {`"partition":"aws"`, `"partition":"mars"`},
		"field":     {`"version":1`, `"version":1,"extra":true`},
		"ca":        {"-----BEGIN CERTIFICATE", "-----BEGIN CERT"},
		"kid":       {`"alg":"RS256"`, `"alg":"ES384"`},
		"arn":       {`"arn":"arn:aws:iam::111122223333:user/Alice","credentials"`, `"arn":"Alice","credentials"`},
		"cut":       {`}}`, `}`},
	} {
		text := strings.Replace(string(b), damage[0], damage[1], 1)
		if text == string(b) {
			t.Errorf("%s: nothing was damaged", name)
		}
		if err := new(State).UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	for partition, host := range map[string]string{
		"aws-cn":     "sts.cn-north-1.amazonaws.com.cn",
		"aws-us-gov": "sts.us-gov-west-1.amazonaws.com",
		"aws-iso":    "sts.us-iso-east-1.c2s.ic.gov",
	} {
		state, err := NewState(StateOptions{Partition: partition})
		if err != nil {
			t.Fatal(err)
		}
		server := New(state, Options{})
		if !server.serves(host) || server.serves("sts.amazonaws.com") {
			t.Errorf("%s: wrong hosts", partition)
		}
		if partition == "aws-iso" {
			if url := state.IssuerURL(account); url != "" {
				t.Errorf("%s: issuer %s, want none", partition, url)
			}
		}
	}
	if _, err := NewState(StateOptions{Partition: "mars"}); err == nil {
		t.Error("an unknown partition was taken")
	}
	if _, err := NewState(StateOptions{Regions: []string{"evil.com"}}); err == nil {
		t.Error("a bad region was taken")
	}
	state, err := NewState(StateOptions{Regions: []string{"eu-moon-1"}})
	if err != nil {
		t.Fatal(err)
	}
	if !New(state, Options{}).serves("sts.eu-moon-1.amazonaws.com") {
		t.Error("an extra region is not served")
	}
}

func TestSessionTokensAreBoundToTheirKey(t *testing.T) {
	t.Parallel()
	state := newTestState(t)
	creds := state.Ensure(Identity{Profile: "dev", ARN: mustARN(t, "arn:aws:iam::111122223333:role/Dev")})
	for name, token := range map[string]string{
		"cut":        creds.SessionToken[:len(creds.SessionToken)-4],
		"flipped":    "A" + creds.SessionToken[1:len(creds.SessionToken)-5] + "AAAA=",
		"line break": creds.SessionToken + "\n",
		"short":      "AAAA",
		"not base64": "!",
	} {
		if _, fail := state.caller(creds.AccessKeyID, token); fail != errUnknownToken {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWriteProfiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	profiles := []Profile{
		{"default", "eu-central-1", Credentials{AccessKeyID: "AKIA1", SecretAccessKey: "s/1+="}},
		{"sso/dev@a", "us-west-2", Credentials{AccessKeyID: "ASIA1", SecretAccessKey: "s2", SessionToken: "t=="}},
	}
	if err := WriteProfiles(dir, profiles); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		ConfigFile: "# Profiles for the simulated AWS STS of a capiam cluster.\n" +
			"\n[default]\nregion = eu-central-1\nsts_regional_endpoints = regional\n" +
			"\n[profile sso/dev@a]\nregion = us-west-2\nsts_regional_endpoints = regional\n",
		CredentialsFile: "# Credentials that only the simulated AWS STS of a capiam cluster knows.\n" +
			"\n[default]\naws_access_key_id = AKIA1\naws_secret_access_key = s/1+=\n" +
			"\n[sso/dev@a]\naws_access_key_id = ASIA1\naws_secret_access_key = s2\naws_session_token = t==\n",
	} {
		path := filepath.Join(dir, name)
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, want 0600", name, info.Mode())
		}
	}
	good := profiles[0]
	for name, p := range map[string]Profile{
		"no name":      {"", good.Region, good.Credentials},
		"a bracket":    {"a]", good.Region, good.Credentials},
		"a blank":      {"a b", good.Region, good.Credentials},
		"no region":    {"a", "", good.Credentials},
		"no key":       {"a", "r", Credentials{SecretAccessKey: "s"}},
		"a line break": {"a", "r\nx", good.Credentials},
	} {
		if err := WriteProfiles(dir, []Profile{p}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := WriteProfiles(dir, []Profile{good, good}); err == nil {
		t.Error("a profile twice: accepted")
	}
}

func FuzzParseParams(f *testing.F) {
	f.Add("a=b&c=%20+d")
	f.Add("%zz")
	f.Add("a;b")
	f.Fuzz(func(t *testing.T, raw string) {
		params, err := parseParams(raw)
		if err != nil {
			return
		}
		// The canonical form reads back as itself.
		text := canonicalQuery(params)
		again, err := parseParams(text)
		if err != nil || canonicalQuery(again) != text {
			t.Errorf("%q became %q, then %q (%v)", raw, text, canonicalQuery(again), err)
		}
	})
}

func FuzzLoadState(f *testing.F) {
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		state := new(State)
		if state.UnmarshalJSON(b) == nil {
			state.Ensure(Identity{ARN: iam.ARN{Partition: "aws", Account: account, Kind: iam.KindUser, Name: "a"}})
		}
	})
}
