package backend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/mapping"
)

// pollEvery is how often a file is looked at. Looking costs one system call,
// works on every file system, and sees a mounted ConfigMap's symlink change,
// which notifications on the file itself do not.
const pollEvery = time.Second

// maxTable bounds a file of mappings.
const maxTable = 16 << 20

// sections are the names of a table's.
var sections = []string{mapping.MapRoles, mapping.MapUsers, mapping.MapAccounts}

// watchedFile is a file that is looked at again and again.
type watchedFile struct {
	path string
	// read reads a file as a whole.
	read func(path string) ([]byte, error)
	// last is the file as it was when it was read; nil if the last look found
	// something else than a file that could be read.
	last os.FileInfo
	// missing counts the looks in a row that found no file.
	missing int
	looked  bool
	// failure is why it could not be read, as it was said.
	failure string
}

// look returns the file's content if it is not what the last look found, or why it
// cannot be had, once. A file that is missing at two looks in a row, or at the
// first, is fs.ErrNotExist: one look may fall between the two steps of a careless
// replacement.
func (f *watchedFile) look() (data []byte, changed bool, err error) {
	first := !f.looked
	f.looked = true
	info, err := os.Stat(f.path)
	if err == nil && f.isLast(info) {
		f.missing = 0
		return nil, false, nil
	}
	if err == nil {
		data, err = f.read(f.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		f.missing++
		f.last, f.failure = nil, ""
		if first {
			f.missing = 2
		}
		return nil, f.missing == 2, fs.ErrNotExist
	}
	f.missing = 0
	if err != nil {
		// What mends it may change neither the file's time nor its size.
		changed = err.Error() != f.failure
		f.last, f.failure = nil, err.Error()
		return nil, changed, err
	}
	f.last, f.failure = info, ""
	return data, true, nil
}

// isLast tells whether this is the file that was read.
func (f *watchedFile) isLast(info os.FileInfo) bool {
	return f.last != nil && os.SameFile(info, f.last) && info.ModTime().Equal(f.last.ModTime()) && info.Size() == f.last.Size()
}

func readTable(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTable+1))
	if err == nil && len(data) > maxTable {
		err = fmt.Errorf("larger than %d bytes", maxTable)
	}
	return data, err
}

// mountedFile is the MountedFile backend: the mappings of the configuration file.
type mountedFile struct {
	path  string
	store *Store
	last  *mapping.AWSAuth
}

// FollowMounted keeps the MountedFile backend at what the configuration file
// says, until ctx ends. The first load is the caller's, who gives the table that is
// in force, and the file as it was then, nil to have it read again. A later file
// that is no configuration keeps what was good as a whole. An entry that is wrong
// keeps what it said, although no server would start with some (see CheckMounted),
// and so does a list in which nothing else is left. An entry that is gone is gone.
// A nil tick is once a second.
func FollowMounted(ctx context.Context, path string, info os.FileInfo, loaded mapping.Mappings, store *Store, tick <-chan time.Time) {
	tick, stop := orTicker(tick)
	defer stop()
	m := mountedFile{path: path, store: store}
	file := watchedFile{path: path, read: readTable, last: info, looked: info != nil}
	for {
		if data, changed, err := file.look(); changed {
			if m.last == nil { // made when it is needed: a table may be large
				m.last, _ = listed(loaded).WithLastGood(nil)
				loaded = mapping.Mappings{}
			}
			m.take(data, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
	}
}

// take puts what was found in force, as far as it is good.
func (f *mountedFile) take(data []byte, err error) {
	var read mapping.Listed
	if err == nil {
		read, err = parseMounted(f.path, data)
	}
	if err != nil {
		f.store.Fail(mapping.BackendMountedFile, fmt.Sprintf("%s: %v", f.path, err))
		return
	}
	next, findings := read.WithLastGood(f.last)
	if CheckMounted(read.Mappings) != nil {
		findings = append(findings, mapping.Finding{
			Severity: mapping.Error, Key: f.path, Index: -1, Message: "a server would not start with it, for an entry's ARN or sso",
		})
	}
	var problems []string
	// Every list is meant to be there, so it is damage that has emptied one.
	for _, section := range next.Emptied() {
		if f.last.InForce(section) > 0 {
			next.Keep(section, f.last)
			findings = append(findings, damageIn(mapping.BackendMountedFile, read, section)...)
			problems = append(problems, fmt.Sprintf("nothing in %s of %s makes sense; its last entries stay in force until something does", section, f.path))
		}
	}
	f.last = next
	f.store.Set(mapping.BackendMountedFile, next.Mappings(), findings, strings.Join(problems, "; "))
}

// damageIn returns what is wrong with the entries of a section in whose place
// others are kept: the store sees only those.
func damageIn(backend string, l mapping.Listed, section string) []mapping.Finding {
	m := mapping.Mappings{Roles: l.Mappings.Roles, Users: l.Mappings.Users} // WithLastGood reports the accounts
	_, findings := mapping.NewIndex([]mapping.Source{{Name: backend, Mappings: m, StrictUserID: l.StrictUserID}}, mapping.IndexOptions{})
	return slices.DeleteFunc(findings, func(f mapping.Finding) bool { return f.Key != section || f.Severity != mapping.Error })
}

// listed is a table whose every section is meant as it is: the configuration file
// is checked for misspelt keys by whoever reads it.
func listed(m mapping.Mappings) mapping.Listed {
	return mapping.Listed{Mappings: m, Sections: sections}
}

func parseMounted(path string, data []byte) (mapping.Listed, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return mapping.Listed{}, errors.New("empty: somebody has begun to write it, or failed")
	}
	f, err := config.Parse(path, data)
	if err != nil {
		return mapping.Listed{}, err
	}
	l := listed(f.Server.Mappings())
	l.LostBy = f.Server.BlankGroups()
	return l, nil
}

// CheckMounted returns what must keep a server from starting with a MountedFile
// table. It is what keeps aws-iam-authenticator from it: an entry without an ARN
// and without sso or with both, an ARN that is not a principal's by its form, a
// permission set that cannot be one. Everything else that is wrong costs the entry
// alone, and the index reports it.
//
// https://github.com/kubernetes-sigs/aws-iam-authenticator, pkg/config/mapper.go
// (Validate) and pkg/arn/arn.go (Canonicalize)
func CheckMounted(m mapping.Mappings) error {
	_, findings := mapping.NewIndex([]mapping.Source{{Name: mapping.BackendMountedFile, Mappings: m}}, mapping.IndexOptions{})
	var errs []error
	for _, f := range findings {
		if f.Severity != mapping.Error {
			continue
		}
		fatal := strings.HasPrefix(f.Field, "sso")
		if f.Field == "arn" {
			fatal = !looksLikePrincipal(arnAt(m, f))
		}
		if fatal {
			errs = append(errs, errors.New(f.String()))
		}
	}
	return errors.Join(errs...)
}

// arnAt returns the ARN that a finding is about, as aws-iam-authenticator reads it.
func arnAt(m mapping.Mappings, f mapping.Finding) string {
	if f.Key == mapping.MapUsers {
		return strings.ToLower(m.Users[f.Index].ARN)
	}
	return m.Roles[f.Index].ARN
}

// looksLikePrincipal tells whether aws-iam-authenticator takes a text for the ARN
// of a principal. It looks at neither account nor name.
func looksLikePrincipal(arn string) bool {
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) < 6 || fields[0] != "arn" {
		return false
	}
	if _, known := iam.LookupPartition(fields[1]); !known {
		return false
	}
	kind, rest, _ := strings.Cut(fields[5], "/")
	switch fields[2] + ":" + kind {
	case "iam:role", "iam:user", "iam:root", "sts:federated-user":
		return true
	case "sts:assumed-role":
		return strings.Contains(rest, "/")
	}
	return false
}

// orTicker returns the tick, or one of pollEvery with what stops it.
func orTicker(tick <-chan time.Time) (<-chan time.Time, func()) {
	if tick != nil {
		return tick, func() {}
	}
	t := time.NewTicker(pollEvery)
	return t.C, t.Stop
}
