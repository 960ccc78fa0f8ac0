package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/capiam/capiam/pkg/atomicfile"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/stssim"
)

// EnsureSTS makes the state of the simulated STS, if it is not there, and makes
// it know the identities. It is for a cluster whose supervisor does not run; a
// running one is asked through Control.
func EnsureSTS(l Layout, record *Record, identities []Identity) (*IdentitiesResponse, error) {
	state, err := loadSTS(l, record)
	if err != nil {
		return nil, err
	}
	answer, err := EnsureIdentities(state, identities)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cluster's directory: %w", err)
	}
	if _, err := atomicfile.Write(l.STSCA(), state.CAPEM(), 0o644); err != nil {
		return nil, err
	}
	return answer, state.Save(l.STS())
}

// PreviewSTS returns what EnsureSTS would, and writes nothing. What the simulated
// STS does not know yet, credentials and issuers, will be different ones.
func PreviewSTS(l Layout, record *Record, identities []Identity) (*IdentitiesResponse, error) {
	state, err := loadSTS(l, record)
	if err != nil {
		return nil, err
	}
	return EnsureIdentities(state, identities)
}

func loadSTS(l Layout, record *Record) (*stssim.State, error) {
	state, err := stssim.Load(l.STS(), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return stssim.NewState(stssim.StateOptions{Partition: record.Partition, Regions: []string{record.Region}})
	}
	return state, err
}

// EnsureIdentities makes the state know the identities, and returns their
// credentials in the same order, and the issuers of their accounts.
func EnsureIdentities(state *stssim.State, identities []Identity) (*IdentitiesResponse, error) {
	answer := &IdentitiesResponse{Issuers: map[string]string{}}
	for _, identity := range identities {
		arn, err := iam.ParseARN(identity.ARN)
		if err != nil {
			return nil, fmt.Errorf("identity %q: %w", identity.Profile, err)
		}
		c := state.Ensure(stssim.Identity{Profile: identity.Profile, ARN: arn, Session: identity.Session})
		answer.Credentials = append(answer.Credentials, Credentials{
			Profile:         identity.Profile,
			AccessKeyID:     c.AccessKeyID,
			SecretAccessKey: c.SecretAccessKey,
			SessionToken:    c.SessionToken,
		})
		answer.Issuers[arn.Account] = state.IssuerURL(arn.Account)
	}
	return answer, nil
}
