package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/capiam/capiam/pkg/stssim"
)

// decode returns the request in a token.
func decode(t *testing.T, tok Token) *url.URL {
	t.Helper()
	text, ok := strings.CutPrefix(tok.Value, Prefix)
	if !ok {
		t.Fatal("the token has another prefix")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestPresignConformance(t *testing.T) {
	b, err := os.ReadFile("testdata/client.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name              string
		Unix              int64
		Region            string
		Cluster           string
		SessionToken      string
		CredentialMinutes int
		Env               map[string]string
		Host              string
		Parameters        []string
		Minutes           int
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	for _, test := range cases {
		t.Run(test.Name, func(t *testing.T) {
			for k, v := range test.Env {
				t.Setenv(k, v)
			}
			now := time.Unix(test.Unix, 0)
			creds := aws.Credentials{AccessKeyID: exampleK, SecretAccessKey: "secret", SessionToken: test.SessionToken}
			if test.CredentialMinutes > 0 {
				creds.CanExpire, creds.Expires = true, now.Add(time.Duration(test.CredentialMinutes)*time.Minute)
			}
			tok, err := Presign(t.Context(), Options{
				ClusterID: test.Cluster, Region: test.Region, Credentials: fixedCredentials{creds},
				Clock: func() time.Time { return now },
			})
			if err != nil {
				t.Fatal(err)
			}
			if want := now.Add(time.Duration(test.Minutes) * time.Minute); !tok.Expiry.Equal(want) {
				t.Errorf("expires %s, want %s", tok.Expiry, want)
			}
			u := decode(t, tok)
			if u.Scheme != "https" || u.Host != test.Host || u.Path != "/" {
				t.Errorf("URL is of %s://%s%s, want host %s", u.Scheme, u.Host, u.Path, test.Host)
			}
			if test.Parameters == nil {
				return
			}
			got := strings.Split(u.RawQuery, "&")
			if len(got) != len(test.Parameters) {
				t.Fatalf("%d parameters, want %d", len(got), len(test.Parameters))
			}
			for i, want := range test.Parameters {
				if name, ok := strings.CutSuffix(want, "*"); got[i] != want && !(ok && strings.HasPrefix(got[i], name)) {
					t.Errorf("parameter %d is %s, want %s", i, got[i], want)
				}
			}
		})
	}
}

// TestPresignedTokenNamesItsOwner takes tokens all the way to the simulated STS.
func TestPresignedTokenNamesItsOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]struct {
		opts Options
		want string
	}{
		"user":         {Options{Credentials: w.ensure(t, userARN)}, userARN},
		"role":         {Options{Credentials: w.ensure(t, roleARN)}, assumed},
		"global":       {Options{Credentials: w.ensure(t, userARN), Region: "aws-global"}, userARN},
		"role assumed": {Options{Credentials: w.ensure(t, userARN), RoleARN: roleARN, ExternalID: "ext"}, "arn:aws:sts::111122223333:assumed-role/Dev/capiam-token"},
		"session name": {Options{Credentials: w.ensure(t, userARN), RoleARN: roleARN, SessionName: "a@b"}, "arn:aws:sts::111122223333:assumed-role/Dev/a@b"},
		"session name forwarded": {Options{Credentials: w.ensure(t, "arn:aws:sts::111122223333:assumed-role/SSO/alice@example.com"), RoleARN: roleARN, ForwardSessionName: true},
			"arn:aws:sts::111122223333:assumed-role/Dev/alice@example.com"},
		"nothing to forward": {Options{Credentials: w.ensure(t, userARN), RoleARN: roleARN, ForwardSessionName: true}, "arn:aws:sts::111122223333:assumed-role/Dev/capiam-token"},
		"forward to no role": {Options{Credentials: w.ensure(t, userARN), ForwardSessionName: true}, userARN},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := test.opts
			opts.ClusterID, opts.HTTPClient = cluster, w.client
			if opts.Region == "" {
				opts.Region = region
			}
			tok, err := Presign(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			for id, ok := range map[string]bool{cluster: true, "other-cluster": false} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, decode(t, tok).String(), nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("X-K8s-Aws-Id", id)
				req.Header.Set("Accept", "application/json")
				res, err := w.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				var out struct {
					GetCallerIdentityResponse struct {
						GetCallerIdentityResult struct {
							Account, Arn string
							UserID       string `json:"UserId"`
						}
					}
				}
				err = json.NewDecoder(res.Body).Decode(&out)
				_ = res.Body.Close()
				if err != nil {
					t.Fatal(err)
				}
				who := out.GetCallerIdentityResponse.GetCallerIdentityResult
				if !ok {
					if res.StatusCode != http.StatusForbidden {
						t.Errorf("the token works for another cluster: %s", res.Status)
					}
					continue
				}
				if res.StatusCode != http.StatusOK || who.Arn != test.want || who.Account != account || who.UserID == "" {
					t.Errorf("%s: %+v, want %s", res.Status, who, test.want)
				}
			}
		})
	}
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	good := Options{ClusterID: cluster, Region: region, Credentials: fixedCredentials{aws.Credentials{AccessKeyID: exampleK, SecretAccessKey: "secret"}}}
	if _, err := Presign(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no cluster":        {func(o *Options) { o.ClusterID = "" }, "cluster ID is empty"},
		"line break":        {func(o *Options) { o.ClusterID = "a\r\nb" }, "printable ASCII"},
		"blank at the end":  {func(o *Options) { o.ClusterID = "a " }, "white space"},
		"not a region":      {func(o *Options) { o.Region = "evil.example.com/" }, "not the name of an AWS region"},
		"upper-case region": {func(o *Options) { o.Region = "EU-CENTRAL-1" }, "not the name of an AWS region"},
		"role not an ARN":   {func(o *Options) { o.RoleARN = "Dev" }, "not an ARN"},
		"a user as role":    {func(o *Options) { o.RoleARN = userARN }, "names no role"},
		"session, no role":  {func(o *Options) { o.SessionName = "abc" }, "role to assume"},
		"both sessions":     {func(o *Options) { o.RoleARN, o.SessionName, o.ForwardSessionName = roleARN, "abc", true }, "only one of them"},
		"odd session":       {func(o *Options) { o.RoleARN, o.SessionName = roleARN, "a b" }, "session name"},
		"short external ID": {func(o *Options) { o.RoleARN, o.ExternalID = roleARN, "x" }, "external ID"},
		"HMAC":              {func(o *Options) { o.Algorithm = "HS256" }, "algorithm"},
		"short duration":    {func(o *Options) { o.Duration = time.Second }, "duration"},
		"long audience":     {func(o *Options) { o.Audience = strings.Repeat("a", 1001) }, "audience"},
		"expired credentials": {func(o *Options) {
			o.Credentials = fixedCredentials{aws.Credentials{AccessKeyID: exampleK, SecretAccessKey: "secret", CanExpire: true, Expires: time.Unix(1, 0)}}
		}, ""},
	} {
		o := good
		test.change(&o)
		for _, makeToken := range []func() (Token, error){
			func() (Token, error) { return Presign(t.Context(), o) },
			func() (Token, error) { return JWT(t.Context(), o) },
		} {
			tok, err := makeToken()
			if err == nil || !strings.Contains(err.Error(), test.want) || tok.Value != "" {
				t.Errorf("%s: %v, want an error with %q", name, err, test.want)
				continue
			}
			noSecrets(t, err.Error(), "secret")
		}
	}
}

// TestCredentialErrorsSayWhatToDo has no AWS configuration, or a damaged one.
func TestCredentialErrorsSayWhatToDo(t *testing.T) {
	w := newWorld(t)
	user := w.ensure(t, userARN).creds
	for name, test := range map[string]struct {
		config string
		env    map[string]string
		opts   Options
		want   string
	}{
		"nothing":       {want: "AWS_PROFILE"},
		"no profile":    {opts: Options{Profile: "ops"}, want: `profile "ops"`},
		"env profile":   {env: map[string]string{"AWS_PROFILE": "ops"}, want: `profile "ops"`},
		"sso":           {config: "[profile ops]\nsso_account_id = 111122223333\nsso_role_name = Ops\nsso_region = eu-central-1\nsso_start_url = https://example.com/start\n", opts: Options{Profile: "ops"}, want: "aws sso login"},
		"process fails": {config: "[profile ops]\ncredential_process = false\n", opts: Options{Profile: "ops"}, want: "credential_process"},
		"process talks": {config: "[profile ops]\ncredential_process = echo " + user.SecretAccessKey + "\n", opts: Options{Profile: "ops"}, want: "credential_process"},
		"region":        {config: "[profile ops]\nregion = no.such.place\naws_access_key_id = a\naws_secret_access_key = b\n", opts: Options{Profile: "ops"}, want: "not the name of an AWS region"},
		"unknown key": {
			env:  map[string]string{"AWS_ACCESS_KEY_ID": exampleK, "AWS_SECRET_ACCESS_KEY": user.SecretAccessKey},
			opts: Options{RoleARN: roleARN, Region: region, HTTPClient: w.client}, want: "InvalidClientTokenId",
		},
		"unknown role": {
			env:  map[string]string{"AWS_ACCESS_KEY_ID": user.AccessKeyID, "AWS_SECRET_ACCESS_KEY": user.SecretAccessKey},
			opts: Options{RoleARN: roleARN, Region: region, HTTPClient: w.client}, want: "assume role",
		},
		"MFA without terminal": {
			config: "[profile base]\naws_access_key_id = a\naws_secret_access_key = b\n[profile ops]\nrole_arn = " + roleARN + "\nsource_profile = base\nmfa_serial = arn:aws:iam::111122223333:mfa/alice\n",
			opts:   Options{Profile: "ops"}, want: "MFA",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(path, []byte(test.config), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_CONFIG_FILE", path)
			for k, v := range test.env {
				t.Setenv(k, v)
			}
			opts := test.opts
			opts.ClusterID = cluster
			tok, err := Presign(t.Context(), opts)
			if err == nil || tok.Value != "" || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want an error with %q", err, test.want)
			}
			noSecrets(t, err.Error(), user.SecretAccessKey)
			if name != "region" && name != "unknown role" && !errors.Is(err, ErrNoCredentials) {
				t.Errorf("%v is no ErrNoCredentials", err)
			}
		})
	}
}

// TestProfilesOfTheSimulation reads what stssim writes.
func TestProfilesOfTheSimulation(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	creds := w.ensure(t, roleARN).creds
	err := stssim.WriteProfiles(dir, []stssim.Profile{{
		Name: "dev", Region: "us-west-2",
		Credentials: stssim.Credentials{AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretAccessKey, SessionToken: creds.SessionToken},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, stssim.ConfigFile))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, stssim.CredentialsFile))
	t.Setenv("AWS_PROFILE", "dev")
	tok, err := Presign(t.Context(), Options{ClusterID: cluster})
	if err != nil {
		t.Fatal(err)
	}
	u := decode(t, tok)
	if u.Host != "sts.us-west-2.amazonaws.com" || u.Query().Get("X-Amz-Security-Token") != creds.SessionToken {
		t.Error("the token is not of the profile")
	}
}
