package release

import "testing"

// BenchmarkLookup is what one command pays for the manifest: it is read anew
// each time, as in a new process.
func BenchmarkLookup(b *testing.B) {
	for b.Loop() {
		m, err := LoadFS(Files())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := m.Client("1.36", "linux", "amd64"); err != nil {
			b.Fatal(err)
		}
	}
}
