package jsonscan

import (
	"encoding/json"
	"testing"
)

func TestSkip(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{}`: true, `[]`: true, `null`: true, `true`: true, `false`: true, `""`: true, `"a"`: true,
		`{"a":[1,-2,0,0.5,1e9,1E+9,1.5e-3,{"b":null}]} `: true,
		``: false, `nul`: false, `tru`: false, `{`: false, `[1`: false, `[1,]`: false, `{"a"}`: false, `{"a":}`: false, `{"a":1,}`: false, `{a:1}`: false,
		`01`: false, `-`: false, `-a`: false, `1.`: false, `.5`: false, `1e`: false, `1e+`: false, `+1`: false, `--1`: false, `1 2`: false,
		`"a`: false, "\"\n\"": false, "\"\x00\"": false, `'a'`: false,
		// JSON, but not the part of it that is read here.
		`"\n"`: false, `"é"`: false, "\"\x7f\"": false, `[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]`: false,
	} {
		s := New([]byte(text))
		if got := s.Skip() && s.End(); got != want {
			t.Errorf("%s: %t", text, got)
		}
		if want && !json.Valid([]byte(text)) {
			t.Errorf("%s is not JSON", text)
		}
	}
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		`[0]`: 0, `[1763769600]`: 1763769600, `[999999999999]`: 999999999999, `[ 5 ]`: 5,
		`[1000000000000]`: -1, `[01]`: -1, `[00]`: -1, `[-1]`: -1, `[1.5]`: -1, `[1e3]`: -1, `["1"]`: -1, `[null]`: -1, `[]`: 0, `[1`: -1,
	} {
		s, got := New([]byte(text)), int64(0)
		if !s.Array(func() bool { return s.Seconds(&got) }) || !s.End() {
			got = -1
		}
		if got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

func TestFolds(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{"iss": true, "ISS": true, "iSs": true, "is": false, "isss": false, "isr": false, "": false} {
		if got := Folds([]byte(key), "iss"); got != want {
			t.Errorf("%s: %t", key, got)
		}
	}
}

func FuzzSkip(f *testing.F) {
	f.Add([]byte(`{"a":[1,-2,0,0.5,1e9,1E+9,1.5e-3,{"b":null}],"c":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := New(b); s.Skip() && s.End() && !json.Valid(b) {
			t.Errorf("%q is not JSON", b)
		}
	})
}
