package spec

import "strings"

// nearest returns the name that was probably meant, or nothing. Exact tells
// that the two differ by case alone.
func nearest(name string, names []string) (near string, exact bool) {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return n, true
		}
	}
	// One mistake in three letters, and never more than three: beyond that a
	// guess confuses more than it helps.
	best := min(len(name)/3, 3) + 1
	for _, n := range names {
		if len(name) >= 4 && strings.HasPrefix(strings.ToLower(n), strings.ToLower(name)) {
			return n, false
		}
		if abs(len(n)-len(name)) >= best {
			continue
		}
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < best {
			near, best = n, d
		}
	}
	return near, false
}

// distance returns how many letters have to be added, removed, replaced or
// swapped with their neighbour to make a out of b (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
