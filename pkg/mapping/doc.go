// Package mapping is the table that turns an IAM principal into a Kubernetes
// username and groups: its entries, the aws-auth ConfigMap they are written in,
// the lookup the authenticator does at every login, and the comparing and
// merging the command line does before it changes who may log in.
//
// The package is pure. What is read from a cluster or a file comes in as
// values, and what should be written goes out as values.
package mapping
