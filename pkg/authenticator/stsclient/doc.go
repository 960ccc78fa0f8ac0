// Package stsclient asks STS who signed a presigned request, by sending the
// request. It is the only place in the authenticator that talks to STS.
//
// Nothing that comes back is trusted further than it has to be: no redirect is
// followed, the body is bounded, and an answer whose parts do not agree with
// each other or with the cluster's partition is refused.
package stsclient
