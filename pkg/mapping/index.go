package mapping

import (
	"fmt"

	"github.com/capiam/capiam/pkg/iam"
)

// indexBuilder fills an Index.
type indexBuilder struct {
	x        *Index
	check    checker
	findings []Finding
}

var entrySections = [...]string{MapRoles, MapUsers}

func (b *indexBuilder) report(s Source, section string, index int, severity Severity, field, message string) {
	b.findings = append(b.findings, Finding{
		Severity: severity, Source: s.Name, Key: section, Index: index, Field: field, Message: message,
	})
}

// add puts one entry in, if it can be honoured and none comes before it.
func (b *indexBuilder) add(s Source, source, section, index int, e Entry) {
	name := entrySections[section]
	if s.StrictUserID {
		b.addStrict(s, source, section, index, e)
		return
	}
	read, faults := b.check.entry(name, e)
	if b.reportFaults(s, name, index, faults) {
		return
	}
	if s.Name == BackendEKSConfigMap && read.arn.Kind == iam.KindAssumedRole {
		// One that has never let anybody in would let every session in.
		b.report(s, name, index, Error, "arn", ofSession(read.arn))
		return
	}
	it := &indexed{
		match:  Match{Username: read.username, Groups: read.groups, Entry: e, Source: s.Name},
		source: source, section: section, index: index,
	}
	if e.SSO != nil {
		b.insert(&b.x.sso, ssoKey(*e.SSO, b.x.partition), s, it)
		return
	}
	it.rank = rank(read.arn)
	b.insert(&b.x.exact, read.arn.Key().String(), s, it)
}

// rank is 0 for an ARN that is spelled as STS does, and 1 for one with a path or a
// session, which comes after it.
func rank(a iam.ARN) int {
	if a.Principal().StripRolePath() != a {
		return 1
	}
	return 0
}

// ofSession says why an entry of aws-auth with an assumed role's ARN is not used.
func ofSession(arn iam.ARN) string {
	return "not used: it names one session of a role, which aws-iam-authenticator never finds in aws-auth; name the role: " + arn.Principal().String()
}

// addStrict puts an entry in by user ID. One whose ARN makes no sense goes in
// too, and agrees with nobody: who has that ID must not be found elsewhere.
func (b *indexBuilder) addStrict(s Source, source, section, index int, e Entry) {
	name := entrySections[section]
	if e.UserID == "" {
		b.report(s, name, index, Error, "userid", "missing, and this backend goes by user ID only")
		return
	}
	read, faults := b.check.strictEntry(name, e)
	it := &indexed{
		match:  Match{Username: read.username, Groups: read.groups, Entry: e, Source: s.Name},
		source: source, section: section, index: index,
	}
	if b.reportFaults(s, name, index, faults) {
		it.agree, it.rank = "-", 1 // after a good one of the same ID
	} else if e.ARN != "" {
		it.agree = read.arn.Key().String()
		if read.arn.Kind == iam.KindAssumedRole {
			it.agree = "-"
		}
	}
	b.insert(&b.x.strict, e.UserID, s, it)
}

// reportFaults reports an entry's faults and tells whether it must be left out.
func (b *indexBuilder) reportFaults(s Source, section string, index int, faults []fault) bool {
	dropped := false
	for _, f := range faults {
		severity := Warning
		if f.level == fatal || f.level == elsewhere {
			severity, dropped = Error, true
		}
		b.report(s, section, index, severity, f.field, f.message)
	}
	return dropped
}

// insert puts an entry under its key, and reports which of two entries of one
// source counts.
func (b *indexBuilder) insert(t *table, key string, s Source, it *indexed) {
	old := t.get([]byte(key))
	if old == nil {
		t.put(key, it)
		return
	}
	if old.source != it.source {
		return // an earlier source has it: the order of sources at work
	}
	winner, loser := old, it
	if old.section == it.section && it.rank <= old.rank {
		winner, loser = it, old
		t.put(key, it)
	}
	b.report(s, entrySections[loser.section], loser.index, Warning, "", fmt.Sprintf("not used: %s names the same principal (%s)",
		place(entrySections[winner.section], winner.index, ""), key))
}
