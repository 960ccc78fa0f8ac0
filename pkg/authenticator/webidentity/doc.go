// Package webidentity verifies tokens that are a JWT from AWS STS (outbound
// identity federation): one issuer for each AWS account, RS256 or ES384, the
// principal's ARN in sub.
//
// Anybody with an AWS account can get such an issuer, so only issuers from the
// configuration count, each for its one account. All checks that cost little
// come before the signature, which is the dear one: an unknown issuer, a wrong
// audience or an old token never gets there, and the checks at work at once are
// bounded.
//
// The signature is checked with the standard library alone. Two algorithms, two
// key types and one compact form are little code; a JOSE library would bring
// many more of each, to be switched off again, and decode everything twice.
package webidentity

// MaxBytes is how long a JWT may be, the token's prefix included. Session tags
// can push it well past what a presigned token has.
const MaxBytes = 16 << 10
