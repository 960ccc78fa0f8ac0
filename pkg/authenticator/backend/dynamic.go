package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/mapping"
)

// DynamicOptions are the DynamicFile backend's.
type DynamicOptions struct {
	Path string
	// StrictUserID makes the entries go by their user ID.
	StrictUserID bool
	Store        *Store
	// Grace is how long the entries of a list that is gone from the file stay in
	// force.
	Grace   time.Duration
	Log     *slog.Logger
	Metrics *metrics.Metrics
	// Now is the clock; nil is the machine's.
	Now func() time.Time
	// Tick says when to look at the file; nil is once a second.
	Tick <-chan time.Time
}

// dynamicFile is the DynamicFile backend: a file of JSON.
type dynamicFile struct {
	opts  DynamicOptions
	grace grace
	last  *mapping.AWSAuth
	// read is what the file said last.
	read mapping.Listed
	// began says that the file has been read once, failed that its newest state
	// is of no use.
	began, failed bool
}

// FollowDynamic keeps the DynamicFile backend at what a JSON file says, until ctx
// ends. What goes for aws-auth goes for the file: an entry that is wrong keeps what
// it said, and what is gone without a word stays for the grace time. As with the
// original, a file is refused as a whole that is not JSON, or has a value of a
// wrong type, an entry without an ARN or an sso entry, and one that is deleted maps
// nobody at once: that is how to switch it off.
func FollowDynamic(ctx context.Context, opts DynamicOptions) {
	tick, stop := orTicker(opts.Tick)
	defer stop()
	d := dynamicFile{opts: opts, grace: newGrace(opts.Grace, opts.Now)}
	file := watchedFile{path: opts.Path, read: readTable}
	for {
		if data, changed, err := file.look(); changed {
			d.take(data, err)
		} else if !d.failed && d.grace.keeping() && d.grace.left() <= 0 {
			d.put()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
	}
}

// take puts what was found in force, as far as it is good.
func (d *dynamicFile) take(data []byte, err error) {
	d.failed = false
	if errors.Is(err, fs.ErrNotExist) {
		d.opts.Log.Warn("dynamic file is not there, it maps nobody", "path", d.opts.Path)
		d.read = mapping.Listed{StrictUserID: d.opts.StrictUserID, Sections: sections}
		d.put()
		return
	}
	var read mapping.Listed
	var updated time.Time
	if err == nil {
		read, updated, err = parseDynamic(data, d.opts.StrictUserID)
	}
	if err != nil {
		d.failed = true
		d.opts.Metrics.DynamicFileFailed()
		d.opts.Store.Fail(mapping.BackendDynamicFile, fmt.Sprintf("%s: %v", d.opts.Path, err))
		return
	}
	d.read = read
	d.put()
	// The first is as old as the file, whoever has just changed it or not.
	if d.began && !updated.IsZero() {
		d.opts.Metrics.DynamicFileLatency(d.grace.now().Sub(updated))
	}
	d.began = true
}

// put puts in force what was read.
func (d *dynamicFile) put() {
	next, findings := d.read.WithLastGood(d.last)
	emptied := next.Emptied()
	problem := d.grace.keep(next, d.last, func(section string) string {
		return fmt.Sprintf("%s of %s has been emptied (write [] if nobody is meant)", section, d.opts.Path)
	})
	for _, section := range emptied {
		if _, kept := d.grace.since[section]; kept {
			findings = append(findings, damageIn(mapping.BackendDynamicFile, d.read, section)...)
		}
	}
	d.last = next
	d.opts.Store.Set(mapping.BackendDynamicFile, next.Mappings(), findings, problem)
}

// dynamicEntry is one entry of a dynamic file.
type dynamicEntry struct {
	RoleARN  string          `json:"rolearn"`
	UserARN  string          `json:"userarn"`
	UserID   string          `json:"userid"`
	Username string          `json:"username"`
	Groups   []string        `json:"groups"`
	SSO      json.RawMessage `json:"sso"`
	// lostBy is the field that may be why there are no groups.
	lostBy string
}

// UnmarshalJSON reads an entry, names of fields in any case.
func (e *dynamicEntry) UnmarshalJSON(data []byte) error {
	type plain dynamicEntry
	*e = dynamicEntry{}
	if err := json.Unmarshal(data, (*plain)(e)); err != nil {
		return err
	}
	if e.Groups != nil { // a list, if only an empty one
		return nil
	}
	for _, name := range otherFields(data, "rolearn", "userarn", "userid", "username", "sso") {
		if mapping.MisspeltGroups(name) && (e.lostBy == "" || strings.EqualFold(name, "groups")) {
			e.lostBy = name
		}
	}
	return nil
}

// otherFields returns the names of an object's fields that are not among those
// known, sorted.
func otherFields(data []byte, known ...string) []string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return nil // no object
	}
	maps.DeleteFunc(fields, func(name string, _ json.RawMessage) bool {
		return slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
	})
	return slices.Sorted(maps.Keys(fields))
}

// parseDynamic reads a dynamic file: JSON, whatever the original's README says.
// It tells when the file says it was written, zero if it does not.
func parseDynamic(data []byte, strict bool) (mapping.Listed, time.Time, error) {
	var doc struct {
		Roles    []dynamicEntry `json:"mapRoles"`
		Users    []dynamicEntry `json:"mapUsers"`
		Accounts []string       `json:"mapAccounts"`
		Updated  string         `json:"LastUpdatedDateTime"`
	}
	l := mapping.Listed{StrictUserID: strict, LostBy: make(map[string]map[int]string)}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&doc); err != nil {
		return l, time.Time{}, fmt.Errorf("not JSON of the expected form: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return l, time.Time{}, errors.New("something follows the JSON document")
	}
	for _, part := range []struct {
		key     string
		entries []dynamicEntry
		to      *[]mapping.Entry
	}{{mapping.MapRoles, doc.Roles, &l.Mappings.Roles}, {mapping.MapUsers, doc.Users, &l.Mappings.Users}} {
		if part.entries != nil {
			l.Sections = append(l.Sections, part.key)
		}
		lost := make(map[int]string)
		l.LostBy[part.key] = lost
		for i, e := range part.entries {
			arn := e.RoleARN
			if part.key == mapping.MapUsers {
				arn = e.UserARN
			}
			switch {
			case len(e.SSO) > 0 && string(e.SSO) != "null":
				return l, time.Time{}, fmt.Errorf("%s[%d]: sso entries are not for this backend", part.key, i)
			case arn == "" && !strict:
				return l, time.Time{}, fmt.Errorf("%s[%d]: no ARN", part.key, i)
			case e.UserID == "" && strict:
				return l, time.Time{}, fmt.Errorf("%s[%d]: no userid, and this backend goes by user ID only", part.key, i)
			}
			if e.lostBy != "" {
				lost[i] = e.lostBy
			}
			*part.to = append(*part.to, mapping.Entry{ARN: arn, UserID: e.UserID, Username: e.Username, Groups: e.Groups})
		}
	}
	if doc.Accounts != nil {
		l.Sections = append(l.Sections, mapping.MapAccounts)
	}
	l.Mappings.Accounts = doc.Accounts
	l.Others = otherFields(data, append([]string{"Version", "LastUpdatedDateTime"}, sections...)...)
	return l, unixTime(doc.Updated), nil
}
