package mapping

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestTemplateConformance(t *testing.T) {
	t.Parallel()
	type templateCase struct {
		ID, Tpl, AccountID, AccessKeyID, SessionName, DNS, Want, Ours string
	}
	for _, c := range readCases[templateCase](t, "templates.json") {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			values := Values{AccountID: c.AccountID, AccessKeyID: c.AccessKeyID, SessionName: c.SessionName}
			switch c.ID {
			case "t-ec2-empty":
				c.Tpl, c.DNS, values.SessionName, c.Want = nodeUsername, "", "i-0c6f21bf1f24f9708", "error"
			case "t-nested": // ours: a single pass
				values.AccessKeyID, c.Want = "AKAK", "u:{{SessionNameRaw}}{{AccessKeyID}}"
			case "t-unknown": // ours: refused when loaded
				if _, err := ParseTemplate(c.Tpl); err == nil || !strings.Contains(err.Error(), "unknown variable {{Unknown}}") {
					t.Errorf("ParseTemplate(%q): %v, want it refused", c.Tpl, err)
				}
				return
			}
			if IsInstanceID(values.SessionName) {
				values.EC2PrivateDNSName = c.DNS
			}
			tpl, err := ParseTemplate(c.Tpl)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tpl.Render(values.Value)
			if c.Want == "error" {
				var missing *MissingValueError
				if !errors.As(err, &missing) || missing.Variable != VarEC2PrivateDNSName {
					t.Errorf("Render = %q, %v; want a MissingValueError", got, err)
				}
				return
			}
			if err != nil || got != c.Want {
				t.Errorf("Render = %q, %v; want %q", got, err, c.Want)
			}
		})
	}
}

func TestParseTemplate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text      string
		variables []string
		wantErr   string
	}{
		{"", nil, ""},
		{"kubernetes-admin", nil, ""},
		{"a}}b{c}", nil, ""},
		{"{{AccountID}}", []string{"AccountID"}, ""},
		{"{{AccountID}}{{SessionName}}:{{AccountID}}", []string{"AccountID", "SessionName"}, ""},
		{"{{ AccountID }}", nil, "unknown variable {{ AccountID }}"},
		{"{{accountid}}", nil, "unknown variable"},
		{"{{}}", nil, "unknown variable"},
		{"x{{AccountID", nil, "{{ without }}"},
		{"{{{AccountID}}}", nil, "unknown variable"},
	} {
		tpl, err := ParseTemplate(tt.text)
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("ParseTemplate(%q): error %v, want %q", tt.text, err, tt.wantErr)
			}
			continue
		}
		if err != nil || !slices.Equal(tpl.Variables(), tt.variables) || tpl.String() != tt.text {
			t.Errorf("ParseTemplate(%q) = %v with %v, %v; want %v", tt.text, tpl, tpl.Variables(), err, tt.variables)
		}
	}
}

func TestRenderNeverRendersEmpty(t *testing.T) {
	t.Parallel()
	for _, name := range Variables() {
		tpl, err := ParseTemplate("a{{" + name + "}}")
		if err != nil {
			t.Fatal(err)
		}
		var missing *MissingValueError
		if got, err := tpl.Render(Values{}.Value); !errors.As(err, &missing) || missing.Variable != name || got != "" {
			t.Errorf("%s: Render = %q, %v; want a MissingValueError", name, got, err)
		}
		if got, err := tpl.Render(func(string) (string, bool) { return "", true }); err == nil {
			t.Errorf("%s: an empty value gives %q", name, got)
		}
	}
}

func TestNeedsSession(t *testing.T) {
	t.Parallel()
	want := []string{VarAccessKeyID, VarSessionName, VarSessionNameRaw}
	for _, name := range Variables() {
		if got := NeedsSession(name); got != slices.Contains(want, name) {
			t.Errorf("NeedsSession(%s) = %v", name, got)
		}
	}
}

func TestIsInstanceID(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"i-0c6f21bf1f24f9708": true, "i-0c6f21bf": true,
		"": false, "i-": false, "i-aaaaa": false, "i-0c6f21bf1f24f970": false, "i-0c6f21bg": false,
		"I-0c6f21bf": false, "i-0C6F21BF": false, "xi-0c6f21bf": false,
	} {
		if got := IsInstanceID(s); got != want {
			t.Errorf("IsInstanceID(%q) = %v, want %v", s, got, want)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"", "plain", "a-{{AccountID}}-{{SessionName}}", "{{", "}}", "{{Unknown}}", "{{AccountID}}{{AccessKeyID}}", "{{{AccountID}}"} {
		f.Add(s, "value {{SessionName}}")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		tpl, err := ParseTemplate(text)
		if err != nil {
			return
		}
		got, err := tpl.Render(func(string) (string, bool) { return value, true })
		if value == "" && len(tpl.Variables()) > 0 {
			if err == nil {
				t.Errorf("%q renders with an empty value", text)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		// One pass over the text, as a replacer does it.
		var pairs []string
		for _, name := range Variables() {
			pairs = append(pairs, "{{"+name+"}}", value)
		}
		if want := strings.NewReplacer(pairs...).Replace(text); got != want {
			t.Errorf("%q renders as %q, want %q", text, got, want)
		}
	})
}
