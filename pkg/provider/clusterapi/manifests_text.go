package clusterapi

import (
	"slices"
	"strings"
)

// maxAligned bounds the work of aligning two texts: the product of their lines.
const maxAligned = 1 << 22

// graft carries what a patch changed over into the text as it was written.
// kustomize writes a document anew, and so drops blank lines and spaces that
// align comments; before and after are what it wrote without and with the
// patch. It gives up, false, where it cannot tell which lines belong together.
// Whether the result says what it should is for the caller to check.
func graft(written, before, after string) (string, bool) {
	w, b, a := slices.Collect(strings.Lines(written)), slices.Collect(strings.Lines(before)), slices.Collect(strings.Lines(after))
	inWritten, ok := align(b, w, func(s string) string { return strings.Join(strings.Fields(s), " ") })
	if !ok {
		return "", false
	}
	inAfter, ok := align(b, a, func(s string) string { return s })
	if !ok {
		return "", false
	}
	inserted := make(map[int][]string) // by the line of w that they come before
	deleted := make(map[int]bool)
	next := 0 // line of a
	for i := 0; i <= len(b); i++ {
		end := len(a)
		if i < len(b) {
			end = inAfter[i]
		}
		if end < 0 {
			if inWritten[i] < 0 {
				return "", false
			}
			deleted[inWritten[i]] = true
			continue
		}
		if next < end {
			var at int
			switch {
			case i > 0 && inWritten[i-1] >= 0:
				at = inWritten[i-1] + 1
			case i < len(b) && inWritten[i] >= 0:
				at = inWritten[i]
			default:
				return "", false
			}
			inserted[at] = append(inserted[at], shift(a[next:end], i, b, w, inWritten)...)
		}
		next = end + 1
	}
	var text strings.Builder
	for i := 0; i <= len(w); i++ {
		for _, line := range inserted[i] {
			text.WriteString(line)
		}
		if i < len(w) && !deleted[i] {
			text.WriteString(w[i])
			if i == len(w)-1 && !strings.HasSuffix(w[i], "\n") && len(inserted[len(w)]) > 0 {
				text.WriteByte('\n')
			}
		}
	}
	return text.String(), true
}

// shift indents lines that belong before line i of b as w indents their
// siblings in b, or else their parent.
func shift(lines []string, i int, b, w []string, inWritten []int) []string {
	level := indent(lines[0])
	by := 0
	moved := func(k int) int { return indent(w[inWritten[k]]) - indent(b[k]) }
	find := func(k, step int) bool {
		for ; k >= 0 && k < len(b); k += step {
			switch at := indent(b[k]); {
			case strings.TrimSpace(b[k]) == "" || inWritten[k] < 0:
			case at == level && isElement(b[k]) == isElement(lines[0]):
				by = moved(k)
				return true
			case at < level || at == level && !isElement(b[k]):
				if step < 0 {
					by = moved(k)
				}
				return false
			}
		}
		return false
	}
	if !find(i-1, -1) {
		find(i, 1)
	}
	shifted := make([]string, len(lines))
	for k, line := range lines {
		switch {
		case strings.TrimSpace(line) == "":
			shifted[k] = line
		case by >= 0:
			shifted[k] = strings.Repeat(" ", by) + line
		default:
			shifted[k] = line[min(-by, indent(line)):]
		}
	}
	return shifted
}

// isElement tells whether a line starts an element of a list.
func isElement(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " "), "- ") }

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// align finds a longest common subsequence of two texts. It returns, for each
// line of a, the line of b that it is, or -1; false if the texts are too long.
func align(a, b []string, key func(string) string) ([]int, bool) {
	ka, kb := make([]string, len(a)), make([]string, len(b))
	for i, s := range a {
		ka[i] = key(s)
	}
	for i, s := range b {
		kb[i] = key(s)
	}
	match := make([]int, len(a))
	for i := range match {
		match[i] = -1
	}
	start := 0
	for start < len(a) && start < len(b) && ka[start] == kb[start] {
		match[start] = start
		start++
	}
	enda, endb := len(a), len(b)
	for enda > start && endb > start && ka[enda-1] == kb[endb-1] {
		enda, endb = enda-1, endb-1
		match[enda] = endb
	}
	n, m := enda-start, endb-start
	if n*m > maxAligned {
		return nil, false
	}
	// length[i][j] is how many lines the rests from i and j have in common.
	length := make([][]int32, n+1)
	for i := range length {
		length[i] = make([]int32, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if ka[start+i] == kb[start+j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < n && j < m; {
		switch {
		case ka[start+i] == kb[start+j]:
			match[start+i] = start + j
			i, j = i+1, j+1
		case length[i+1][j] >= length[i][j+1]:
			i++
		default:
			j++
		}
	}
	return match, true
}
