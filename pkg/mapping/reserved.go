package mapping

import "strings"

// ReservedPrefix returns the first of the prefixes that a rendered username
// starts with. A username that has one must be denied outright, without asking
// later backends. An empty prefix reserves nothing.
func ReservedPrefix(username string, prefixes []string) (string, bool) {
	for _, p := range prefixes {
		if p != "" && strings.HasPrefix(username, p) {
			return p, true
		}
	}
	return "", false
}
