package webidentity

import (
	"encoding/json"
	"reflect"
	"testing"
)

// slowClaims and slowHeader are what the scanners must agree with.
func slowClaims(raw []byte) (c claims, err error) {
	err = json.Unmarshal(raw, &c)
	return c, err
}

func slowHeader(raw []byte) (h header, err error) {
	err = json.Unmarshal(raw, &h)
	return h, err
}

var claimsSeeds = []string{
	// As AWS documents them.
	`{"aud":"my-cluster","sub":"arn:aws:iam::111122223333:role/R","https://sts.amazonaws.com/":{"aws_account":"111122223333","source_region":"us-east-1","org_id":"o-abc","ou_path":["o-a1/r-b1/"],"principal_id":"arn:aws:iam::111122223333:role/R","principal_tags":{"team":"x"},"original_session_exp":"2026-11-22T00:00:00Z","lambda_source_function_arn":null},"iss":"https://abc.tokens.sts.global.api.aws","exp":1763770000,"iat":1763769700,"jti":"7e0c"}`,
	`{"iss":"a","sub":"b","aud":["x","y"],"exp":1,"iat":0,"nbf":5,"jti":"j","https://sts.amazonaws.com/":{"aws_account":"1","ec2_source_instance_arn":"i"}}`,
	` { "aud" : [ ] , "x" : [ 1 , -0.5e+3 , true , null ] } `,
	`{}`,
	`{"exp":1.5}`, `{"exp":1e3}`, `{"exp":01}`, `{"exp":null}`, `{"exp":"1"}`, `{"exp":-1}`, `{"exp":1099511627777}`, `{"exp":1234567890123}`,
	`{"iss":"a","iss":"b"}`, `{"iss":"a","ISS":"b"}`, `{"x":{},"Https://STS.amazonaws.com/":{"aws_account":"1"}}`,
	`{"https://sts.amazonaws.com/":{"aws_account":"1","AWS_ACCOUNT":"2"}}`, `{"https://sts.amazonaws.com/":{"aws_account":5}}`,
	`{"https://sts.amazonaws.com/":{"aws_account":"1"},"https://sts.amazonaws.com/":{}}`,
	`{"aud":null}`, `{"aud":[null]}`, `{"aud":[1]}`, `{"aud":{}}`, `{"iss":null}`, `{"i\u0073s":"a"}`, `{"iss":"\u0061"}`, `{"ıss":"a"}`, `{"iſs":"a"}`,
	`{"iss":"a"}x`, `{"iss":"a",}`, `[]`, `null`, ``,
}

var headerSeeds = []string{
	`{"kid":"RSA_0","typ":"JWT","alg":"RS256"}`, `{"alg":"ES384","kid":"EC384_0"}`, `{"alg":"RS256","ALG":"none"}`, `{"alg":"RS256","alg":"none"}`,
	`{"alg":"RS256","crit":["b64"]}`, `{"alg":"RS256","crit":null}`, `{"alg":"RS256","CRIT":[]}`, `{"alg":"RS256","kid":5}`, `{"alg":"RS256","b64":false,"x":{"alg":"none"}}`, `{"\u212aid":"a"}`,
}

// Tokens as AWS and as we make them must take the quick way, or it is no use.
func TestScansWhatAWSWrites(t *testing.T) {
	t.Parallel()
	for _, raw := range claimsSeeds[:2] {
		var c claims
		if !scanClaims([]byte(raw), &c) {
			t.Errorf("claims are left to encoding/json: %s", raw)
		}
	}
	for _, raw := range headerSeeds[:2] {
		var h header
		if !scanHeader([]byte(raw), &h) {
			t.Errorf("header is left to encoding/json: %s", raw)
		}
	}
	i := newIssuers(t)
	raw, err := json.Marshal(i.claims())
	if err != nil {
		t.Fatal(err)
	}
	var c claims
	if want, err := slowClaims(raw); !scanClaims(raw, &c) || err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v, %v", c, want, err)
	}
}

// Whatever could be read in two ways is left to encoding/json.
func TestScanLeaves(t *testing.T) {
	t.Parallel()
	for _, raw := range claimsSeeds[4:] {
		var c claims
		if scanClaims([]byte(raw), &c) {
			t.Errorf("read: %s", raw)
		}
	}
	for _, raw := range headerSeeds[2:] {
		var h header
		if raw != headerSeeds[8] && scanHeader([]byte(raw), &h) {
			t.Errorf("read: %s", raw)
		}
	}
}

func FuzzScanClaims(f *testing.F) {
	for _, s := range claimsSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var fast claims
		if !scanClaims(raw, &fast) {
			return
		}
		if slow, err := slowClaims(raw); err != nil || !reflect.DeepEqual(fast, slow) {
			t.Errorf("%q: read as %+v, and by encoding/json as %+v, %v", raw, fast, slow, err)
		}
	})
}

func FuzzScanHeader(f *testing.F) {
	for _, s := range headerSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var fast header
		if !scanHeader(raw, &fast) {
			return
		}
		if slow, err := slowHeader(raw); err != nil || !reflect.DeepEqual(fast, slow) {
			t.Errorf("%q: read as %+v, and by encoding/json as %+v, %v", raw, fast, slow, err)
		}
	})
}
