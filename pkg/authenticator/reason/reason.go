// Package reason holds the codes that say why a login was denied. The same code
// stands in the answer's status.error, in the decision log and in a metric's
// label, so the set is closed and each code is a constant here. What each means
// and what to do about it is in docs/authenticator.md.
package reason

import "errors"

// Code is why a login was denied, or "ok".
type Code string

// The codes.
const (
	OK Code = "ok"
	// NotOurs: the token has not our shape. Other authenticators have their
	// say, and the answer carries no error.
	NotOurs Code = "not_ours"

	Malformed      Code = "malformed_token"
	Expired        Code = "token_expired"
	ClockAhead     Code = "clock_ahead"  // the client's clock, seen from here
	ClockBehind    Code = "clock_behind" // this server's clock, seen from the issuer
	WrongHost      Code = "wrong_host"
	WrongPartition Code = "wrong_partition"
	WrongCluster   Code = "wrong_cluster"

	// TokenKindOff: the configuration does not take tokens of this kind.
	TokenKindOff Code = "token_kind_off"

	UnknownIssuer Code = "unknown_issuer"
	UnknownKey    Code = "unknown_key"
	BadSignature  Code = "bad_signature"
	WrongAudience Code = "wrong_audience"
	WrongAccount  Code = "wrong_account"

	STSRefused     Code = "sts_refused"
	STSBadAnswer   Code = "sts_bad_answer"
	STSThrottled   Code = "sts_throttled"
	STSUnreachable Code = "sts_unreachable"

	IssuerUnreachable Code = "issuer_unreachable"
	EC2Unreachable    Code = "ec2_unreachable"
	Overloaded        Code = "overloaded"
	NotReady          Code = "mappings_not_loaded"
	// Internal: a fault in this program, and no verdict.
	Internal Code = "internal_error"

	NotMapped        Code = "not_mapped"
	UserIDMismatch   Code = "user_id_mismatch"
	TemplateUnfilled Code = "template_unfilled"
	ReservedName     Code = "reserved_name"
)

// All returns every code, for metrics that are to show a zero.
func All() []Code {
	return []Code{
		OK, NotOurs, Malformed, Expired, ClockAhead, ClockBehind, WrongHost, WrongPartition, WrongCluster, TokenKindOff,
		UnknownIssuer, UnknownKey, BadSignature, WrongAudience, WrongAccount,
		STSRefused, STSBadAnswer, STSThrottled, STSUnreachable,
		IssuerUnreachable, EC2Unreachable, Overloaded, NotReady, Internal,
		NotMapped, UserIDMismatch, TemplateUnfilled, ReservedName,
	}
}

// Trouble tells whether the code says that the login could not be judged now,
// rather than that it must be denied. The API server is told 503 then, which it
// tries once and does not remember.
func (c Code) Trouble() bool {
	switch c {
	case STSThrottled, STSUnreachable, IssuerUnreachable, EC2Unreachable, Overloaded, NotReady, Internal:
		return true
	}
	return false
}

// Denial is a denied login. Its detail holds no token, signature or secret,
// and at most short, quoted pieces of what the client sent.
type Denial struct {
	Code   Code
	Detail string
	cause  error
}

// New returns a denial.
func New(code Code, detail string) *Denial { return &Denial{Code: code, Detail: detail} }

// Wrap returns a denial with the error that led to it, for the log.
func Wrap(code Code, detail string, cause error) *Denial {
	return &Denial{Code: code, Detail: detail, cause: cause}
}

// Error returns "code: detail".
func (d *Denial) Error() string { return string(d.Code) + ": " + d.Detail }

// Unwrap returns the cause, if there is one.
func (d *Denial) Unwrap() error { return d.cause }

// Of returns the denial that err is or wraps. An error that is none is a fault
// in this program, and reported as such rather than as a verdict.
func Of(err error) *Denial {
	var d *Denial
	if errors.As(err, &d) {
		return d
	}
	return Wrap(Internal, "fault in the authenticator", err)
}
