// Package stssim is a simulated AWS STS for clusters on one's own machine and
// for tests. It is honest: it checks Signature Version 4 for real, in the query
// and in the header, and refuses what STS refuses, with STS's own error codes.
// An unmodified AWS SDK, AWS CLI or aws-iam-authenticator works against it.
//
// A State holds who exists: identities with their credentials, one token issuer
// per account, and a private CA. It is saved as a file, so that everything
// survives a restart. A Server answers for the host names of a partition's STS
// endpoints and of the accounts' token issuers. Clients reach it through
// ListenProxy, by HTTPS_PROXY and a CA file, without any setting of ours:
//
//	state, _ := stssim.NewState(stssim.StateOptions{Partition: "aws"})
//	creds := state.Ensure(stssim.Identity{Profile: "alice", ARN: alice})
//	server := stssim.New(state, stssim.Options{})
//	proxy, _ := stssim.ListenProxy(ctx, server, "127.0.0.1:0")
//	// HTTPS_PROXY=proxy.URL() AWS_CA_BUNDLE=<file with state.CAPEM()>
//
// It listens on loopback addresses only, and its CA can vouch for nothing but
// the names it simulates. It makes no outgoing connection, ever.
package stssim
