// Package identity is what a verified token says about who sent it. Both kinds
// of token end in one; the mapping starts from it.
package identity

import (
	"time"

	"github.com/capiam/capiam/pkg/iam"
)

// Identity is a verified principal.
type Identity struct {
	// ARN is the principal as STS or the token said it, Canonical without
	// session and role path.
	ARN       iam.ARN
	Canonical string
	// UserID is the principal's unique ID ("AIDA...", "AROA..."), without the
	// session. A JWT does not carry it.
	UserID string
	// SessionName is the role session's; empty for users and in a JWT.
	SessionName string
	// AccessKeyID is the key that signed a presigned token.
	AccessKeyID string
	// InstanceID is the EC2 instance that holds the credentials, if known.
	InstanceID string
	// JTI is a JWT's own ID.
	JTI string
	// Expires is when the token is worth nothing any more.
	Expires time.Time
}
