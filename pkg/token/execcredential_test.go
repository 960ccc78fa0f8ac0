package token

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/pkg/apis/clientauthentication/install"
	v1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/pkg/apis/clientauthentication/v1beta1"
)

func TestExecCredentialVersions(t *testing.T) {
	t.Parallel()
	tok := Token{Value: "k8s-aws-v1.abc", Expiry: time.Date(2023, 4, 28, 2, 14, 0, 999, time.FixedZone("x", 7200))}
	for name, test := range map[string]struct {
		info    string
		version string
	}{
		"unset":           {"", execV1Beta1},
		"malformed":       {"{", execV1Beta1},
		"not an object":   {"[]", execV1Beta1},
		"no version":      {`{"kind":"ExecCredential"}`, execV1Beta1},
		"v1beta1":         {`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"interactive":true}}`, execV1Beta1},
		"v1":              {`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}`, execV1},
		"v1alpha1":        {`{"apiVersion":"client.authentication.k8s.io/v1alpha1"}`, ""},
		"v2":              {`{"apiVersion":"client.authentication.k8s.io/v2"}`, ""},
		"somebody else's": {`{"apiVersion":"v1"}`, ""},
	} {
		b, err := ExecCredential(tok, test.info)
		if test.version == "" {
			if err == nil || !strings.Contains(err.Error(), "not supported") {
				t.Errorf("%s: %v, want an error", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := `{"kind":"ExecCredential","apiVersion":"` + test.version + `","spec":{},"status":{"expirationTimestamp":"2023-04-28T00:14:00Z","token":"k8s-aws-v1.abc"}}`
		if string(b) != want {
			t.Errorf("%s: %s, want %s", name, b, want)
		}
	}
}

// TestExecConformance: without what kubectl says of itself, or with nonsense, the
// version is the one aws-iam-authenticator falls back to.
func TestExecConformance(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/exec.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		ID, APIVersion string
		Info           []string
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			for _, info := range c.Info {
				b, err := ExecCredential(Token{Value: "k8s-aws-v1.abc", Expiry: time.Now()}, info)
				if err != nil || !strings.Contains(string(b), `"apiVersion":"`+c.APIVersion+`"`) {
					t.Errorf("%q: %s, %v; want version %s", info, b, err, c.APIVersion)
				}
			}
		})
	}
}

// TestExecCredentialAsKubectlReadsIt decodes it as client-go does.
func TestExecCredentialAsKubectlReadsIt(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	install.Install(scheme)
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	expiry := time.Now().Add(time.Minute)
	for _, version := range []string{execV1, execV1Beta1} {
		info, err := json.Marshal(map[string]string{"apiVersion": version})
		if err != nil {
			t.Fatal(err)
		}
		b, err := ExecCredential(Token{Value: "k8s-aws-v1.abc", Expiry: expiry}, string(info))
		if err != nil {
			t.Fatal(err)
		}
		obj, _, err := decoder.Decode(b, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		var token string
		var end time.Time
		switch cred := obj.(type) {
		case *v1.ExecCredential:
			token, end = cred.Status.Token, cred.Status.ExpirationTimestamp.Time
		case *v1beta1.ExecCredential:
			token, end = cred.Status.Token, cred.Status.ExpirationTimestamp.Time
		default:
			t.Fatalf("%s: decoded as %T", version, obj)
		}
		if token != "k8s-aws-v1.abc" || end.After(expiry) || expiry.Sub(end) > time.Second {
			t.Errorf("%s: read back as %s until %s", version, token, end)
		}
	}
}

func TestInteractive(t *testing.T) {
	t.Parallel()
	for info, want := range map[string]bool{
		"":                                true,
		"{":                               true,
		"{}":                              true,
		`{"spec":{"interactive":true}}`:   true,
		`{"spec":{"interactive":false}}`:  false,
		`{"spec":{"interactive":"what"}}`: true,
	} {
		if got := Interactive(info); got != want {
			t.Errorf("%q: %t, want %t", info, got, want)
		}
	}
}

func TestMFAPrompt(t *testing.T) {
	t.Parallel()
	var asked strings.Builder
	code, err := mfaPrompt(t.Context(), strings.NewReader(" 123456\r\nmore"), &asked)()
	if err != nil || code != "123456" {
		t.Errorf("%q, %v", code, err)
	}
	if asked.String() != "MFA code: " {
		t.Errorf("asked %q", asked.String())
	}
	for name, in := range map[string]string{"nothing": "", "an empty line": "\n", "endless": strings.Repeat(" ", 1<<20)} {
		if code, err := mfaPrompt(t.Context(), strings.NewReader(in), nil)(); !errors.Is(err, errMFA) {
			t.Errorf("%s: %q, %v", name, code, err)
		}
	}
	if _, err := mfaPrompt(t.Context(), nil, nil)(); !errors.Is(err, errMFA) {
		t.Errorf("nobody to ask: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	terminal, typed := io.Pipe()
	defer typed.Close()
	if _, err := mfaPrompt(ctx, terminal, nil)(); !errors.Is(err, context.Canceled) {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

func FuzzExecInfo(f *testing.F) {
	f.Add("")
	f.Add("{")
	f.Add(`{"apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":true}}`)
	f.Fuzz(func(t *testing.T, info string) {
		Interactive(info)
		b, err := ExecCredential(Token{Value: "t"}, info)
		if err == nil && !json.Valid(b) {
			t.Errorf("%q gives %q", info, b)
		}
	})
}
