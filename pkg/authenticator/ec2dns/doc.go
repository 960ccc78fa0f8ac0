// Package ec2dns finds EC2 instances' private DNS names, which is what nodes are
// named by: a mapping's {{EC2PrivateDNSName}}.
//
// It makes one kind of call, so it makes it by hand: a DescribeInstances query,
// signed with the AWS SDK's own SigV4 signer and answered in XML. The SDK's EC2
// client would do the same with some 40 MB of generated source more, which
// trebles the size of the server's program for a template that no cluster
// outside EC2 uses. Credentials come from the SDK's standard chain, and so does
// the region if none is configured. Both may mean asking instance metadata, or
// assuming a role. Run does that beside the logins, from when a mapping in force
// needs names: a login uses what is there, and is denied if there is nothing yet.
//
// The region could also be had from the node's own token, whose STS host mostly
// is its region's. But then each client would say where EC2 is asked, with a
// signature of our credentials; a node that uses STS's global endpoint would not
// say it at all; and the original goes by the server's own region.
//
// Lookups made at about the same time go into one call. An instance that is not
// found is looked up again at its next login; a name that is found is kept, for
// it does not change while the instance lives. Nothing runs while nothing is
// asked, but the renewal of credentials.
package ec2dns
