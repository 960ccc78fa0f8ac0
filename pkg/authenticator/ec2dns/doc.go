// Package ec2dns finds EC2 instances' private DNS names, which is what nodes are
// named by: a mapping's {{EC2PrivateDNSName}}.
//
// It makes one kind of call, so it makes it by hand: a DescribeInstances query,
// signed with the AWS SDK's own SigV4 signer and answered in XML. The SDK's EC2
// client would do the same with some 40 MB of generated source more, which
// trebles the size of the server's program for a template that no cluster
// outside EC2 uses. Credentials come from the SDK's standard chain; nothing of
// this is loaded before the first lookup.
//
// Lookups made at about the same time go into one call. An instance that is not
// found is looked up again at its next login; a name that is found is kept, for
// it does not change while the instance lives. Nothing runs while nothing is
// asked.
package ec2dns
