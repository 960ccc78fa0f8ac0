package pki

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

// ParseCert reads the first certificate of a PEM text.
func ParseCert(certPEM []byte) (*x509.Certificate, error) {
	for rest := certPEM; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return nil, errors.New("no certificate in the PEM")
		}
		if block.Type != certBlock {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		return cert, nil
	}
}

// Certificate returns the pair in the form that crypto/tls serves. It is an
// error if the two do not belong together.
func (p KeyPair) Certificate() (tls.Certificate, error) {
	cert, err := ParseCert(p.CertPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := parseKey(p.KeyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate %q: %w", cert.Subject.CommonName, err)
	}
	if !samePublicKey(cert.PublicKey, key.Public()) {
		return tls.Certificate{}, fmt.Errorf("certificate %q: the key is not the certificate's", cert.Subject.CommonName)
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// errKey stands for every way in which a key can be damaged: what the parsers
// say could quote the key.
var errKey = errors.New("the private key cannot be read, it should be unencrypted PEM (PKCS#8, PKCS#1 or SEC 1)")

func parseKey(keyPEM []byte) (crypto.Signer, error) {
	for rest := keyPEM; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return nil, errKey
		}
		var (
			key any
			err error
		)
		switch block.Type {
		case keyBlock:
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			// "EC PARAMETERS" stands before the key in openssl's files.
			continue
		}
		if err != nil {
			return nil, errKey
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, errKey
		}
		return signer, nil
	}
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errors.New("encode private key")
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der})
}
