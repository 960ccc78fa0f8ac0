// Package install puts into a cluster what package render made: the
// authenticator as a Helm release, the CustomResourceDefinitions, and who may
// log in, as the ConfigMap aws-auth or as IAMIdentityMappings.
//
// It is the only package that writes to a workload cluster, and it writes
// nothing that is right already. Every step can be interrupted and run again;
// what an earlier run left half done is taken up. Other writers' entries stay.
package install
