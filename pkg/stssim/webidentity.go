package stssim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

type webIdentityToken struct {
	Expiration       stamp
	WebIdentityToken string
}

// claims of a web identity token, as AWS documents them:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html
type claims struct {
	Issuer   string    `json:"iss"`
	Audience any       `json:"aud"`
	Subject  string    `json:"sub"`
	IssuedAt int64     `json:"iat"`
	Expires  int64     `json:"exp"`
	ID       string    `json:"jti"`
	STS      stsClaims `json:"https://sts.amazonaws.com/"`
}

type stsClaims struct {
	Account        string            `json:"aws_account"`
	Region         string            `json:"source_region"`
	PrincipalID    string            `json:"principal_id"`
	SessionExpires string            `json:"original_session_exp,omitempty"`
	RequestTags    map[string]string `json:"request_tags,omitempty"`
}

const (
	maxAudiences   = 10
	maxAudienceLen = 1000
	maxTags        = 50
	// maxPayload is a guess: AWS says that there is a limit, not which.
	maxPayload = 16 << 10
)

// getWebIdentityToken issues a JWT that names the caller.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html
func (s *Server) getWebIdentityToken(req *request, who caller) (any, *apiError) {
	if req.endpoint.Region == "" {
		return nil, &apiError{http.StatusBadRequest, "InvalidAction", "GetWebIdentityToken is not available on the global endpoint"}
	}
	audiences, fail := req.audiences()
	if fail != nil {
		return nil, fail
	}
	tags, fail := req.tags()
	if fail != nil {
		return nil, fail
	}
	alg := req.param("SigningAlgorithm")
	if alg != algRS256 && alg != algES384 {
		return nil, errValidation("1 validation error detected: Value at 'signingAlgorithm' failed to satisfy constraint: Member must be one of RS256, ES384")
	}
	seconds, fail := req.seconds("DurationSeconds", 300, 60, 3600)
	if fail != nil {
		return nil, fail
	}
	issuer, key, fail := s.state.signingKey(who.arn.Account, alg)
	if fail != nil {
		return nil, fail
	}

	now := s.clock().UTC().Truncate(time.Second)
	expires := now.Add(time.Duration(seconds) * time.Second)
	c := claims{
		Issuer: issuer, Audience: audiences, Subject: who.arn.String(),
		IssuedAt: now.Unix(), Expires: expires.Unix(), ID: uuid.NewString(),
		STS: stsClaims{
			Account: who.arn.Account, Region: req.endpoint.Region,
			PrincipalID: who.arn.String(), RequestTags: tags,
		},
	}
	if len(audiences) == 1 {
		c.Audience = audiences[0]
	}
	if !who.expires.IsZero() {
		if expires.After(who.expires) {
			return nil, &apiError{http.StatusForbidden, "SessionDurationEscalationException", "The requested token duration would extend the session beyond its original expiration time"}
		}
		c.STS.SessionExpires = who.expires.UTC().Format(time.RFC3339)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return nil, internalFailure
	}
	if len(payload) > maxPayload {
		return nil, &apiError{http.StatusBadRequest, "JWTPayloadSizeExceededException", "The requested token payload size exceeds the maximum allowed size"}
	}
	token, err := signJWT(key, payload)
	if err != nil {
		return nil, internalFailure
	}
	return webIdentityToken{Expiration: stamp(expires), WebIdentityToken: token}, nil
}

var internalFailure = &apiError{http.StatusInternalServerError, "InternalFailure", "The request processing has failed because of an unknown error"}

// members reads a list parameter: Name.member.1 and so on.
func (r *request) members(name, suffix string) []string {
	var out []string
	for i := 1; ; i++ {
		v, ok := first(r.params, name+".member."+strconv.Itoa(i)+suffix)
		if !ok {
			return out
		}
		out = append(out, v)
	}
}

func (r *request) audiences() ([]string, *apiError) {
	audiences := r.members("Audience", "")
	if len(audiences) < 1 || len(audiences) > maxAudiences {
		return nil, errValidation(fmt.Sprintf("1 validation error detected: Value at 'audience' failed to satisfy constraint: Member must have length from 1 to %d", maxAudiences))
	}
	for _, a := range audiences {
		if n := utf8.RuneCountInString(a); n < 1 || n > maxAudienceLen {
			return nil, errValidation(fmt.Sprintf("1 validation error detected: Value at 'audience' failed to satisfy constraint: Member must satisfy constraint: [Member must have length from 1 to %d]", maxAudienceLen))
		}
	}
	return audiences, nil
}

func (r *request) tags() (map[string]string, *apiError) {
	keys := r.members("Tags", ".Key")
	if len(keys) > maxTags {
		return nil, errValidation(fmt.Sprintf("1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to %d", maxTags))
	}
	if len(keys) == 0 {
		return nil, nil
	}
	tags := map[string]string{}
	for i, key := range keys {
		value, ok := first(r.params, fmt.Sprintf("Tags.member.%d.Value", i+1))
		if _, twice := tags[key]; twice || !ok || key == "" || utf8.RuneCountInString(key) > 128 || utf8.RuneCountInString(value) > 256 {
			return nil, errValidation("1 validation error detected: Value at 'tags' failed to satisfy constraint: keys must differ and have 1 to 128 characters, values at most 256")
		}
		tags[key] = value
	}
	return tags, nil
}

// signingKey returns the account's issuer and the key it signs with now.
func (s *State) signingKey(account, alg string) (issuerURL string, key *issuerKey, fail *apiError) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	is := s.data.Issuers[account]
	if is == nil || is.Disabled {
		return "", nil, &apiError{http.StatusForbidden, "OutboundWebIdentityFederationDisabledException", "The outbound web identity federation feature is not enabled for this account"}
	}
	key, ok := is.signingKey(alg)
	if !ok {
		return "", nil, internalFailure
	}
	return "https://" + issuerHost(s.data.Partition, is.UUID), key, nil
}

// signJWT returns the payload as a compact JWS.
func signJWT(key *issuerKey, payload []byte) (string, error) {
	header, err := json.Marshal(struct {
		KID string `json:"kid"`
		Typ string `json:"typ"`
		Alg string `json:"alg"`
	}{key.KID, "JWT", key.Alg})
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString(header) + "." + enc.EncodeToString(payload)
	var sig []byte
	switch k := key.signer.(type) {
	case *rsa.PrivateKey:
		sum := sha256.Sum256([]byte(signed))
		sig, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		sum := sha512.Sum384([]byte(signed))
		sig, err = signECDSA(k, sum[:])
	default:
		err = fmt.Errorf("key %s: type %T cannot sign", key.KID, k)
	}
	if err != nil {
		return "", err
	}
	return signed + "." + enc.EncodeToString(sig), nil
}

// signECDSA signs as RFC 7518 section 3.4 wants it: r and s side by side, each
// as long as the curve's order.
func signECDSA(key *ecdsa.PrivateKey, sum []byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, key, sum)
	if err != nil {
		return nil, err
	}
	size := (key.Params().BitSize + 7) / 8
	sig := make([]byte, 2*size)
	r.FillBytes(sig[:size])
	s.FillBytes(sig[size:])
	return sig, nil
}
