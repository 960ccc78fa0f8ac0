package mapping

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzLastGood checks what holds for every two states of a table, made of a few
// names, usernames and groups and of all kinds of damage: nothing is in force that
// neither the new text nor the state before says, what is good in the text counts,
// and the same text comes to the same, also after a restart.
func FuzzLastGood(f *testing.F) {
	for _, seed := range []string{"", "\x00\x10\x20", "\x01\x41\x11\x51", "\x80\x01\xff\x02", "\x07\x87\x17"} {
		for _, now := range []string{"", "\x03\x13\x23", "\x41\x01\xff\x11", "\xff", "\xff\x08\x88"} {
			f.Add([]byte(seed), []byte(now), []byte(seed+now))
		}
	}
	f.Fuzz(func(t *testing.T, first, second, third []byte) {
		if len(first)+len(second)+len(third) > 60 {
			return
		}
		var last *AWSAuth
		for _, recipe := range [][]byte{first, second, third} {
			data := tableOf(recipe)
			a := judgeWithGrace(data, last)
			checkState(t, data, last, a)
			last = a
		}
	})
}

// tableOf makes aws-auth's data of bytes, an item for each. A byte of 0xff begins
// the next key, and two of them in a row are a key that is not YAML.
func tableOf(recipe []byte) map[string]string {
	data := make(map[string]string)
	for i, part := range strings.SplitN(string(recipe), "\xff", 2) {
		key := entrySections[i]
		var b strings.Builder
		for _, c := range []byte(part) {
			b.WriteString(itemOf(key, c))
		}
		data[key] = b.String()
	}
	return data
}

// itemOf makes an item of a byte: two bits each for the name, the username and the
// groups, and what is wrong with it.
func itemOf(key string, c byte) string {
	if c == 0xff {
		return "- ["
	}
	name := [...]string{"A", "B", "team/A", "C"}[c&3]
	username := [...]string{"u", "v", "5", "w"}[c>>2&3]
	groups := [...]string{"groups: [g]", "groups: [h]", "group: [g]", "groups:"}[c>>4&3]
	arn := "arn:aws:iam::111122223333:role/" + name
	switch c >> 6 {
	case 1:
		arn += " "
	case 2:
		arn = "junk"
	case 3:
		if c&1 == 0 {
			return "- {}\n"
		}
	}
	field := fieldRoleARN
	if key == MapUsers {
		field = fieldUserARN
	}
	return fmt.Sprintf("- %s: %q\n  username: %s\n  %s\n", field, arn, username, groups)
}

// judgeWithGrace is ParseWithLastGood while the grace time is not over.
func judgeWithGrace(data map[string]string, last *AWSAuth) *AWSAuth {
	a, _ := ParseWithLastGood(data, last)
	for _, key := range a.Emptied() {
		if last.InForce(key) > 0 {
			a.Keep(key, last)
		}
	}
	return a
}

func checkState(t *testing.T, data map[string]string, last, is *AWSAuth) {
	t.Helper()
	alone, _ := Parse(data)
	for _, key := range entrySections {
		equal := func(e Entry) func(Entry) bool { return func(o Entry) bool { return e.Equal(o) } }
		var before []Entry
		if last != nil {
			before = last.Mappings().section(key)
		}
		inForce := is.Mappings().section(key)
		for _, e := range inForce {
			if !slices.ContainsFunc(alone.Mappings().section(key), equal(e)) && !slices.ContainsFunc(before, equal(e)) {
				t.Errorf("%s: %+v is in force, and nobody has said so", key, e)
			}
		}
		for _, it := range is.sections[key].items {
			if !it.damaged && !is.sections[key].kept && !slices.ContainsFunc(inForce, equal(it.entry)) {
				t.Errorf("%s: %+v is good, and not in force", key, it.entry)
			}
		}
	}
	restored, err := Restore(is.Saved())
	if err != nil {
		t.Fatal(err)
	}
	for what, again := range map[string]*AWSAuth{
		"judged again": judgeWithGrace(data, is), "restored": restored, "judged after a restart": judgeWithGrace(data, restored),
	} {
		if diff := cmp.Diff(is.Mappings(), again.Mappings(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-was +is):\n%s\n%v", what, diff, data)
		}
	}
}
