package generate

import (
	"errors"
	"io/fs"
	"os"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/pki"
)

// kept is what an earlier run left in a directory.
type kept struct {
	clusterID string
	ca        *pki.CA
	leaf      pki.KeyPair
}

// readKept reads a directory. What is not there is left empty; what is there
// and cannot be read is an error, as replacing it would cut off a cluster that
// trusts it.
func readKept(dir string) (kept, error) {
	var k kept
	if dir == "" {
		return k, nil
	}
	read := func(name string) ([]byte, error) {
		data, err := os.ReadFile(at(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return data, err
	}
	data, err := read(configFile)
	if err != nil {
		return k, wrapDir(dir, err)
	}
	if len(data) > 0 {
		f, err := config.Parse(at(dir, configFile), data)
		if err != nil {
			return k, wrapDir(dir, err)
		}
		k.clusterID = f.ClusterID
	}
	pair := func(certFile, keyFile string) (pki.KeyPair, error) {
		cert, err := read(certFile)
		if err != nil {
			return pki.KeyPair{}, err
		}
		key, err := read(keyFile)
		return pki.KeyPair{CertPEM: cert, KeyPEM: key}, err
	}
	ca, err := pair(caCertFile, caKeyFile)
	if err != nil {
		return k, wrapDir(dir, err)
	}
	if len(ca.CertPEM)+len(ca.KeyPEM) > 0 {
		if k.ca, err = pki.LoadCA(ca.CertPEM, ca.KeyPEM); err != nil {
			return k, wrapDir(dir, err)
		}
	}
	if k.leaf, err = pair(leafCertFile, leafKeyFile); err != nil {
		return k, wrapDir(dir, err)
	}
	return k, nil
}
