package stssim

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/capiam/capiam/pkg/atomicfile"
)

// Profile is one section of the files the AWS CLI and SDKs read.
type Profile struct {
	// Name is the profile's; "default" is the one used when none is named.
	Name string
	// Region is where its calls go.
	Region      string
	Credentials Credentials
}

// Names of the files WriteProfiles writes, for AWS_CONFIG_FILE and
// AWS_SHARED_CREDENTIALS_FILE.
const (
	ConfigFile      = "aws-config"
	CredentialsFile = "aws-credentials"
)

// WriteProfiles writes the profiles into ConfigFile and CredentialsFile in a
// directory, each with mode 0600 and all or nothing. Profiles that were there
// before and are not in the list are gone.
func WriteProfiles(dir string, profiles []Profile) error {
	config, credentials, err := formatProfiles(profiles)
	if err != nil {
		return err
	}
	// The credentials first: a profile without a region is of more use than
	// one without credentials.
	if _, err := atomicfile.Write(filepath.Join(dir, CredentialsFile), credentials, atomicfile.Private); err != nil {
		return err
	}
	if _, err := atomicfile.Write(filepath.Join(dir, ConfigFile), config, atomicfile.Private); err != nil {
		return err
	}
	return nil
}

func formatProfiles(profiles []Profile) (config, credentials []byte, err error) {
	var conf, cred strings.Builder
	conf.WriteString("# Profiles for the simulated AWS STS of a capiam cluster.\n")
	cred.WriteString("# Credentials that only the simulated AWS STS of a capiam cluster knows.\n")
	seen := map[string]bool{}
	for _, p := range profiles {
		if err := p.check(); err != nil {
			return nil, nil, err
		}
		if seen[p.Name] {
			return nil, nil, fmt.Errorf("AWS profile %q is there twice", p.Name)
		}
		seen[p.Name] = true
		section := "profile " + p.Name
		if p.Name == "default" {
			section = p.Name
		}
		fmt.Fprintf(&conf, "\n[%s]\nregion = %s\nsts_regional_endpoints = regional\n", section, p.Region)
		fmt.Fprintf(&cred, "\n[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n",
			p.Name, p.Credentials.AccessKeyID, p.Credentials.SecretAccessKey)
		if p.Credentials.SessionToken != "" {
			fmt.Fprintf(&cred, "aws_session_token = %s\n", p.Credentials.SessionToken)
		}
	}
	return []byte(conf.String()), []byte(cred.String()), nil
}

// check refuses what would not come back as it was from an ini file.
func (p Profile) check() error {
	if p.Name == "" {
		return fmt.Errorf("AWS profile without a name")
	}
	for i := range len(p.Name) {
		c := p.Name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("_-.@+=,/", c) >= 0:
		default:
			return fmt.Errorf("AWS profile %q: a name may have letters, digits and _-.@+=,/ only", p.Name)
		}
	}
	for _, v := range []string{p.Region, p.Credentials.AccessKeyID, p.Credentials.SecretAccessKey} {
		if v == "" {
			return fmt.Errorf("AWS profile %q: region, access key and secret are all needed", p.Name)
		}
	}
	for _, v := range []string{p.Region, p.Credentials.AccessKeyID, p.Credentials.SecretAccessKey, p.Credentials.SessionToken} {
		if strings.ContainsAny(v, "\r\n \t#;") {
			return fmt.Errorf("AWS profile %q: a value holds a blank, a line break or a comment sign", p.Name)
		}
	}
	return nil
}
