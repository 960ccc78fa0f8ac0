// Package authenticator is the webhook that a Kubernetes API server asks whose
// token it has been shown: a drop-in for aws-iam-authenticator's server, for
// presigned tokens and JWTs.
//
// A Decider judges one token: it calls presigned and stsclient, or webidentity,
// then looks the principal up in a backend.Store and renders its name. Server
// puts that behind HTTPS, with health, readiness and metrics beside it.
//
// What it answers is chosen for what the API server makes of it:
//
//   - a token that is not of our shape: 200, not authenticated, no error. Other
//     authenticators have their say, and the API server may remember it.
//   - a token that must be denied: 200, not authenticated, with the reason as
//     error. That is not remembered, and the operator sees it.
//   - trouble (STS throttling or out of reach, mappings not loaded): 503, which
//     the API server tries once. 429 and 500 would be tried five times, and with
//     Retry-After 32 times.
package authenticator
