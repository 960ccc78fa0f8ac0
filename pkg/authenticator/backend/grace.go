package backend

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/capiam/capiam/pkg/mapping"
)

// grace keeps the entries of sections that have been emptied without a word, for
// a time: whoever did it may have locked everybody out. It is one worker's alone.
type grace struct {
	period time.Duration
	now    func() time.Time
	// since is when each such section was first seen, by its name.
	since map[string]time.Time
	// unseen is from when on nobody has looked; zero if somebody has. What turns
	// out to be missing then may have been missing all the while.
	unseen time.Time
}

func newGrace(period time.Duration, now func() time.Time) grace {
	if now == nil {
		now = time.Now
	}
	return grace{period: period, now: now, since: make(map[string]time.Time)}
}

// keep puts back into next what last has in the sections that next has emptied,
// as long as their time is not over, and returns what to say about it. What tells
// what has become of a section. Last may be nil.
func (g *grace) keep(next, last *mapping.AWSAuth, what func(section string) string) string {
	emptied := next.Emptied()
	maps.DeleteFunc(g.since, func(section string, _ time.Time) bool { return !slices.Contains(emptied, section) })
	var said []string
	for _, section := range emptied {
		if last == nil || last.InForce(section) == 0 {
			delete(g.since, section)
			continue
		}
		if _, known := g.since[section]; !known {
			g.since[section] = g.missingSince()
		}
		end := g.since[section].Add(g.period)
		if !g.now().Before(end) {
			delete(g.since, section)
			said = append(said, what(section)+"; the time for putting it right is over, and nobody is mapped by it")
			continue
		}
		next.Keep(section, last)
		said = append(said, what(section)+"; its last entries stay in force until "+end.UTC().Format(time.RFC3339))
	}
	return strings.Join(slices.Compact(said), "; ")
}

// resume takes over what was missing when somebody last looked.
func (g *grace) resume(missing map[string]time.Time, seen time.Time) {
	g.unseen = seen
	for section, since := range missing {
		if now := g.now(); since.After(now) {
			since = now // a clock was wrong, and must not make it for ever
		}
		g.since[section] = since
	}
}

// missingSince is since when a section is missing that is found so now.
func (g *grace) missingSince() time.Time {
	if now := g.now(); g.unseen.IsZero() || g.unseen.After(now) {
		return now
	}
	return g.unseen
}

// keeping tells whether entries are kept now.
func (g *grace) keeping() bool { return len(g.since) > 0 }

// left returns how long it takes until the first of the sections that are kept
// must be judged again. It is only for while keeping.
func (g *grace) left() time.Duration {
	first := slices.MinFunc(slices.Collect(maps.Values(g.since)), time.Time.Compare)
	return first.Add(g.period).Sub(g.now())
}
