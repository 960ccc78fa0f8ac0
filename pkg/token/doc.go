// Package token makes the tokens people log in to a cluster with, from their
// AWS credentials. There are two kinds, both with the prefix "k8s-aws-v1.":
//
//   - Presign makes what aws-iam-authenticator and "aws eks get-token" make: a
//     presigned GetCallerIdentity request. It calls nothing (but for what the
//     credentials need), and any server of that family takes it.
//   - JWT asks STS for a signed JSON Web Token that names the caller
//     (sts:GetWebIdentityToken). A server verifies it without asking STS.
//
// ExecCredential puts either into the form kubectl reads from an exec plugin.
// "capiam token" is a thin layer above this package.
package token
