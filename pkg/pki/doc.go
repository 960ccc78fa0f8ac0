// Package pki makes and checks the certificates of one cluster's
// authenticator: a CA that the API server is told to trust, and the leaf
// certificates it signs, which can be renewed without touching the API server.
//
// It is called by the workflows that create and upgrade a cluster, by the local
// provider for the API server's own certificates, and by the simulated STS.
// Keys are ECDSA P-256 in PKCS#8. A CA that already exists, EKS Anywhere's RSA
// one say, is loaded and used as it is.
//
// No error of this package holds key material.
package pki
