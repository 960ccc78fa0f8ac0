// Package presigned reads tokens that are a presigned GetCallerIdentity request
// ("k8s-aws-v1." and the request's URL in base64url). It makes every check that
// needs no network, so that nothing but a well-formed request to an STS endpoint
// of the cluster's own partition is ever sent on.
//
// The rules are aws-iam-authenticator's, made strict: what real clients never
// send is refused. docs/compatibility.md lists the differences.
package presigned

// Prefix starts every token this server looks at, of both kinds.
const Prefix = "k8s-aws-v1."

// MaxBytes is how long a presigned token may be, its prefix included.
const MaxBytes = 4096
