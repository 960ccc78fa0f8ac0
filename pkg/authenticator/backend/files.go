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
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/capiam/capiam/pkg/authenticator/config"
	"github.com/capiam/capiam/pkg/authenticator/metrics"
	"github.com/capiam/capiam/pkg/mapping"
)

// pollEvery is how often a file is looked at. Looking costs one system call,
// works on every file system, and sees a mounted ConfigMap's symlink change,
// which notifications on the file itself do not.
const pollEvery = time.Second

// maxTable bounds a file of mappings.
const maxTable = 16 << 20

// followFile reads a file whenever it changes and hands it on, until ctx ends. A
// file that is missing at two looks in a row is handed on as fs.ErrNotExist:
// one look may fall between the two steps of a careless replacement.
func followFile(ctx context.Context, path string, tick <-chan time.Time, changed func(data []byte, err error)) {
	var last os.FileInfo
	missing, started := 0, false
	for {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing++
			if missing == 2 || missing == 1 && !started {
				missing = 2
				changed(nil, fs.ErrNotExist)
			}
			last = nil
		case err != nil:
			changed(nil, err)
		case last == nil || !os.SameFile(info, last) || !info.ModTime().Equal(last.ModTime()) || info.Size() != last.Size():
			data, err := readTable(path)
			last, missing = info, 0
			changed(data, err)
		}
		started = true
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
	}
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

// FollowMounted keeps the MountedFile backend at what the configuration file
// says. The first load is the caller's, and strict; a later one that is wrong
// keeps what was good. A nil tick is once a second.
func FollowMounted(ctx context.Context, path, partition string, store *Store, tick <-chan time.Time) {
	tick, stop := orTicker(tick)
	defer stop()
	first := true
	followFile(ctx, path, tick, func(data []byte, err error) {
		if first {
			first = false
			return
		}
		var f *config.File
		if err == nil {
			f, err = config.Parse(path, data)
		}
		if err == nil {
			err = CheckMounted(f.Server.Mappings(), partition)
		}
		if err != nil {
			store.Fail(mapping.BackendMountedFile, fmt.Sprintf("%s: %v", path, err))
			return
		}
		store.Set(mapping.BackendMountedFile, f.Server.Mappings(), nil, "")
	})
}

// CheckMounted returns what must keep a MountedFile table from being used: as
// with aws-iam-authenticator, one bad entry refuses it all.
func CheckMounted(m mapping.Mappings, partition string) error {
	_, findings := mapping.NewIndex([]mapping.Source{{Name: mapping.BackendMountedFile, Mappings: m}}, mapping.IndexOptions{Partition: partition})
	var errs []error
	for _, f := range findings {
		if f.Severity == mapping.Error {
			errs = append(errs, errors.New(f.String()))
		}
	}
	return errors.Join(errs...)
}

// FollowDynamic keeps the DynamicFile backend at what a JSON file says. A file
// that is wrong is refused as a whole; one that is gone maps nobody. A nil tick
// is once a second.
func FollowDynamic(ctx context.Context, path string, strict bool, store *Store, m *metrics.Metrics, log *slog.Logger, tick <-chan time.Time) {
	tick, stop := orTicker(tick)
	defer stop()
	followFile(ctx, path, tick, func(data []byte, err error) {
		if errors.Is(err, fs.ErrNotExist) {
			log.Warn("dynamic file is gone, it maps nobody now", "path", path)
			store.Set(mapping.BackendDynamicFile, mapping.Mappings{}, nil, "")
			return
		}
		var table mapping.Mappings
		var updated time.Time
		if err == nil {
			table, updated, err = parseDynamic(data, strict)
		}
		if err != nil {
			m.DynamicFileFailed()
			store.Fail(mapping.BackendDynamicFile, fmt.Sprintf("%s: %v", path, err))
			return
		}
		store.Set(mapping.BackendDynamicFile, table, nil, "")
		if !updated.IsZero() {
			m.DynamicFileLatency(time.Since(updated))
		}
	})
}

// dynamicEntry is one entry of a dynamic file.
type dynamicEntry struct {
	RoleARN  string          `json:"rolearn"`
	UserARN  string          `json:"userarn"`
	UserID   string          `json:"userid"`
	Username string          `json:"username"`
	Groups   []string        `json:"groups"`
	SSO      json.RawMessage `json:"sso"`
}

// parseDynamic reads a dynamic file: JSON, whatever the original's README says.
func parseDynamic(data []byte, strict bool) (mapping.Mappings, time.Time, error) {
	var doc struct {
		Roles    []dynamicEntry `json:"mapRoles"`
		Users    []dynamicEntry `json:"mapUsers"`
		Accounts []string       `json:"mapAccounts"`
		Updated  string         `json:"LastUpdatedDateTime"`
	}
	var m mapping.Mappings
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&doc); err != nil {
		return m, time.Time{}, fmt.Errorf("not JSON of the expected form: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return m, time.Time{}, errors.New("something follows the JSON document")
	}
	for _, part := range []struct {
		key     string
		entries []dynamicEntry
		to      *[]mapping.Entry
	}{{mapping.MapRoles, doc.Roles, &m.Roles}, {mapping.MapUsers, doc.Users, &m.Users}} {
		for i, e := range part.entries {
			arn := e.RoleARN
			if part.key == mapping.MapUsers {
				arn = e.UserARN
			}
			switch {
			case len(e.SSO) > 0 && string(e.SSO) != "null":
				return m, time.Time{}, fmt.Errorf("%s[%d]: sso entries are not for this backend", part.key, i)
			case arn == "" && !strict:
				return m, time.Time{}, fmt.Errorf("%s[%d]: no ARN", part.key, i)
			case e.UserID == "" && strict:
				return m, time.Time{}, fmt.Errorf("%s[%d]: no userid, and this backend goes by user ID only", part.key, i)
			}
			*part.to = append(*part.to, mapping.Entry{ARN: arn, UserID: e.UserID, Username: e.Username, Groups: slices.Clone(e.Groups)})
		}
	}
	m.Accounts = doc.Accounts
	var updated time.Time
	if sec, err := strconv.ParseInt(doc.Updated, 10, 64); err == nil && sec > 0 {
		updated = time.Unix(sec, 0)
	}
	return m, updated, nil
}

// orTicker returns the tick, or one of pollEvery with what stops it.
func orTicker(tick <-chan time.Time) (<-chan time.Time, func()) {
	if tick != nil {
		return tick, func() {}
	}
	t := time.NewTicker(pollEvery)
	return t.C, t.Stop
}
