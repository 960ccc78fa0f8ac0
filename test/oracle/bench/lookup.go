package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"sigs.k8s.io/aws-iam-authenticator/pkg/config"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/file"
	"sigs.k8s.io/aws-iam-authenticator/pkg/token"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

const account = "111122223333"

// everySSO says which entries of a table with SSO entries are some.
const everySSO = 10

// table makes n entries, and the ARNs of those who log in by them.
func table(n int, sso bool) (mapping.Mappings, []string) {
	var m mapping.Mappings
	arns := make([]string, n)
	for i := range n {
		e := mapping.Entry{Username: fmt.Sprintf("user%06d", i), Groups: []string{"developers", "viewers"}}
		if sso && i%everySSO == 0 {
			set := fmt.Sprintf("Set%06d", i)
			e.SSO = &mapping.SSO{PermissionSetName: set, AccountID: account}
			arns[i] = fmt.Sprintf("arn:aws:iam::%s:role/AWSReservedSSO_%s_%016x", account, set, i)
		} else {
			e.ARN = fmt.Sprintf("arn:aws:iam::%s:role/Role%06d", account, i)
			arns[i] = e.ARN
		}
		m.Roles = append(m.Roles, e)
	}
	return m, arns
}

// lookups compares finding a principal's entry: ours in the index, theirs in the
// mapper of MountedFile, which walks the table as that of EKSConfigMap does.
func lookups(ctx context.Context, runs int) ([]series, error) {
	config.SSORoleMatchEnabled = true
	var all []series
	for _, sso := range []bool{false, true} {
		for _, n := range []int{10, 10_000, 100_000} {
			s := series{Name: fmt.Sprintf("lookup, %d mappings", n), Unit: "us", Aim: "ours under 1 us"}
			if sso {
				s.Name += ", one in ten SSO"
			}
			m, arns := table(n, sso)
			ours, theirs, err := both(m)
			if err != nil {
				return nil, err
			}
			principals, identities, err := who(arns)
			if err != nil {
				return nil, err
			}
			for range runs {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				took, err := each(len(principals), 40*time.Millisecond, func(i int) error {
					_, err := ours.LookupPrincipal(principals[i])
					return err
				})
				if err != nil {
					return nil, err
				}
				s.Ours = append(s.Ours, took)
				if took, err = each(len(identities), 40*time.Millisecond, func(i int) error {
					_, err := theirs.Map(identities[i])
					return err
				}); err != nil {
					return nil, err
				}
				s.Theirs = append(s.Theirs, took)
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// both puts a table into both.
func both(m mapping.Mappings) (*mapping.Index, *file.FileMapper, error) {
	index, findings := mapping.NewIndex([]mapping.Source{{Name: mapping.BackendMountedFile, Mappings: m}}, mapping.IndexOptions{Partition: "aws"})
	if len(findings) > 0 {
		return nil, nil, fmt.Errorf("table: %s", findings[0])
	}
	roles := make(map[string]config.RoleMapping, len(m.Roles))
	for _, e := range m.Roles {
		r := config.RoleMapping{RoleARN: strings.ToLower(e.ARN), Username: e.Username, Groups: e.Groups}
		if e.SSO != nil {
			r.SSO = &config.SSOARNMatcher{PermissionSetName: e.SSO.PermissionSetName, AccountID: e.SSO.AccountID}
		}
		roles[r.Key()] = r
	}
	return index, file.NewFileMapperWithMaps(roles, nil, nil), nil
}

// who returns up to a thousand of those mapped, from all over the table.
func who(arns []string) ([]mapping.Principal, []*token.Identity, error) {
	order := rand.New(rand.NewPCG(1, 2)).Perm(len(arns))
	order = order[:min(len(order), 1000)]
	var principals []mapping.Principal
	var identities []*token.Identity
	for _, i := range order {
		a, err := iam.ParseARN(arns[i])
		if err != nil {
			return nil, nil, err
		}
		principals = append(principals, mapping.Principal{ARN: a})
		identities = append(identities, &token.Identity{CanonicalARN: arns[i]})
	}
	return principals, identities, nil
}

// each calls do for one after another until the time is over, and returns what
// one took, in microseconds of CPU time: other programs on the machine count
// less that way.
func each(n int, atLeast time.Duration, do func(int) error) (float64, error) {
	cpu, err := cpuTime()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	for calls := 0; ; {
		// The clock is asked once for several quick calls.
		for range 10 {
			if err := do(calls % n); err != nil {
				return 0, err
			}
			calls++
			if calls < 10 && time.Since(begin) > atLeast {
				break
			}
		}
		if time.Since(begin) > atLeast {
			now, err := cpuTime()
			return float64(now-cpu) / float64(time.Microsecond) / float64(calls), err
		}
	}
}
