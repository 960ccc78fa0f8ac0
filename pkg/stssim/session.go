package stssim

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/capiam/capiam/pkg/iam"
)

// sealed is what a session token holds, encrypted. Keeping it in the token
// itself, as STS seems to, means that temporary credentials need no memory and
// survive restarts.
type sealed struct {
	ARN     string `json:"a"`
	Session string `json:"s"`
	UserID  string `json:"u"`
	Secret  string `json:"k"`
	// Expires is in Unix seconds; zero is never.
	Expires int64 `json:"e,omitempty"`
}

var errBadSessionToken = errors.New("session token does not belong to the access key")

func newSeal(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// sealSession makes temporary credentials. The access key is bound into the
// token, so one key's token is worth nothing with another key.
func sealSession(seal cipher.AEAD, in sealed, expires time.Time) Credentials {
	in.Secret = newSecret()
	if !expires.IsZero() {
		in.Expires = expires.Unix()
	}
	creds := Credentials{
		AccessKeyID:     newID("ASIA", 16),
		SecretAccessKey: in.Secret,
		Expires:         expires,
	}
	plain, err := json.Marshal(in)
	if err != nil {
		// Strings and an integer cannot fail to encode.
		return Credentials{}
	}
	nonce := randomBytes(seal.NonceSize())
	box := seal.Seal(nonce, nonce, plain, []byte(creds.AccessKeyID))
	creds.SessionToken = base64.StdEncoding.EncodeToString(box)
	return creds
}

// openSession undoes sealSession.
func openSession(seal cipher.AEAD, accessKeyID, token string) (sealed, error) {
	box, err := base64.StdEncoding.DecodeString(token)
	// The decoder skips line breaks and stray bits; a token has one spelling.
	if err != nil || len(box) < seal.NonceSize() || base64.StdEncoding.EncodeToString(box) != token {
		return sealed{}, errBadSessionToken
	}
	nonce, box := box[:seal.NonceSize()], box[seal.NonceSize():]
	plain, err := seal.Open(nil, nonce, box, []byte(accessKeyID))
	if err != nil {
		return sealed{}, errBadSessionToken
	}
	var out sealed
	if err := json.Unmarshal(plain, &out); err != nil {
		return sealed{}, errBadSessionToken
	}
	return out, nil
}

// newUserID returns a principal's unique ID, with the prefix IAM gives its
// kind. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
func newUserID(arn iam.ARN) string {
	switch arn.Kind {
	case iam.KindRole, iam.KindAssumedRole:
		return newID("AROA", 17)
	case iam.KindRoot:
		return arn.Account
	case iam.KindFederatedUser:
		return arn.Account + ":" + arn.Name
	default:
		return newID("AIDA", 17)
	}
}

// newID returns a prefix and n random characters of the alphabet AWS's
// identifiers are made of.
func newID(prefix string, n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	b := randomBytes(n)
	for i := range b {
		b[i] = alphabet[b[i]%32]
	}
	return prefix + string(b)
}

// newSecret returns a secret access key: forty characters.
func newSecret() string {
	return base64.StdEncoding.EncodeToString(randomBytes(30))
}

// randomBytes returns n random bytes. crypto/rand never fails.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
