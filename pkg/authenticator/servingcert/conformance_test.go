package servingcert

import (
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"
)

// TestConformance: the API server's way to the server, and the names in the
// certificate that is made, are those of aws-iam-authenticator.
func TestConformance(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/client.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		ID   string
		URLs []struct {
			Hostname, URL string
			Port          int
		}
		Certificates []struct {
			Address, Hostname string
			DNS, IPs          []string
		}
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			if len(c.URLs)+len(c.Certificates) != 3 {
				t.Fatalf("the case is %+v", c)
			}
			for _, u := range c.URLs {
				if got := ServerURL(u.Hostname, u.Port); got != u.URL {
					t.Errorf("got %s, want %s", got, u.URL)
				}
			}
			for _, want := range c.Certificates {
				dir := t.TempDir()
				if err := SelfSign(dir, want.Hostname, want.Address, time.Now()); err != nil {
					t.Fatal(err)
				}
				s, err := Open(dir, slog.New(slog.DiscardHandler), nil)
				if err != nil {
					t.Fatal(err)
				}
				var ips []string
				for _, ip := range s.Leaf().IPAddresses {
					ips = append(ips, ip.String())
				}
				if !slices.Equal(s.Leaf().DNSNames, want.DNS) || !slices.Equal(ips, want.IPs) {
					t.Errorf("%s %s: names %q, addresses %q", want.Hostname, want.Address, s.Leaf().DNSNames, ips)
				}
			}
		})
	}
}
