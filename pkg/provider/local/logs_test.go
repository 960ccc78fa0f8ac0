package local

import (
	"os"
	"strings"
	"testing"
)

func TestLogTail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, log, want string
	}{
		{"empty", "\n", ""},
		{"short", "one\ntwo\n", "one\n  two"},
		{"long", "1\n2\n3\n4\n5\n6\n", "2\n  3\n  4\n  5\n  6"},
		{
			"panic", "level=INFO msg=starting\npanic: failed to create WAL\n\ngoroutine 240 [running]:\nmain.main()\n\tmain.go:1 +0x1\n",
			"level=INFO msg=starting\n  panic: failed to create WAL",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := layoutWithLogs(t, map[string]string{"capiam-local": tt.log})
			want := tt.want
			if want != "" {
				want = "\nthe end of " + l.Log("capiam-local") + ":\n  " + want
			}
			if got := l.LogTail("capiam-local"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	if got := (Layout{Dir: t.TempDir()}).LogTail("capiam-local"); got != "" {
		t.Errorf("no log: %q", got)
	}
}

func TestLastWords(t *testing.T) {
	t.Parallel()
	l := layoutWithLogs(t, map[string]string{
		"capiam-local": "panic: failed to create WAL\n",
		"etcd": `{"level":"warn","msg":"not recommended"}
{"level":"panic","msg":"failed to create WAL","error":"no space left on device"}
`,
	})
	if got := l.lastWords(); !strings.HasSuffix(got, "\netcd: failed to create WAL: no space left on device") {
		t.Errorf("got %q", got)
	}
	l = layoutWithLogs(t, map[string]string{"etcd": `{"level":"warn","msg":"not recommended"}`})
	if got := l.lastWords(); got != "" {
		t.Errorf("a warning is no last word: %q", got)
	}
}

func layoutWithLogs(t *testing.T, logs map[string]string) Layout {
	t.Helper()
	l := Layout{Dir: t.TempDir()}
	if err := os.Mkdir(l.Dir+"/logs", 0o700); err != nil {
		t.Fatal(err)
	}
	for component, text := range logs {
		if err := os.WriteFile(l.Log(component), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return l
}
