package iam

import (
	"slices"
	"strings"
	"testing"
)

func TestSTSHosts(t *testing.T) {
	t.Parallel()
	// Cases where we differ and the file does not say so.
	deviations := map[string]string{
		"host-028": "a region's name ends in a digit, and default-region does not",
	}
	type hostCase struct {
		ID, Partition, Region, Host, Want, Ours string
	}
	for _, c := range readCases[hostCase](t, "hosts.json") {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			want := c.Want == "accept" && !strings.HasPrefix(c.Ours, "reject") && deviations[c.ID] == ""
			if got := accepts(c.Partition, c.Region, c.Host); got != want {
				t.Errorf("host %s in partition %s with own region %q: accepted is %v, want %v", c.Host, c.Partition, c.Region, got, want)
			}
		})
	}
}

// accepts tells whether a verifier of a partition, running in a region, may call
// a host.
func accepts(partition, region, host string) bool {
	p, ok := LookupPartition(partition)
	if !ok {
		return false
	}
	set, err := NewHostSet(p, region)
	if err != nil {
		return false
	}
	_, ok = set.Lookup(host)
	return ok
}

func TestHostsHaveOneSpelling(t *testing.T) {
	t.Parallel()
	for _, host := range []string{
		"", "STS.us-west-2.amazonaws.com", "sts.US-WEST-2.amazonaws.com", "sts.us-west-2.amazonaws.com.",
		"sts.us-west-2.amazonaws.com:443", " sts.us-west-2.amazonaws.com", "sts.us-west-2.amazonaws.com\n",
		"sts..amazonaws.com", "sts.s3.amazonaws.com", "sts.evil.amazonaws.com", "stsfips.us-west-2.amazonaws.com",
		"[::1]", "localhost",
	} {
		if accepts("aws", "", host) {
			t.Errorf("host %q is accepted", host)
		}
	}
}

func TestEveryRegionHasItsHosts(t *testing.T) {
	t.Parallel()
	// Partitions never share a host, though two share a suffix.
	owner := make(map[string]string)
	for _, id := range PartitionIDs() {
		p, _ := LookupPartition(id)
		set, err := NewHostSet(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range set.Names() {
			if other, taken := owner[name]; taken {
				t.Errorf("%s is in %s and %s", name, other, id)
			}
			owner[name] = id
		}
		for _, region := range p.Regions {
			host, ok := set.Lookup("sts." + region + "." + p.DNSSuffix)
			if !ok || host.Region != region {
				t.Errorf("%s: no plain host (%+v)", region, host)
			}
		}
	}
}

func TestHostFields(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		partition string
		want      STSHost
	}{
		{"aws", STSHost{Name: "sts.amazonaws.com"}},
		{"aws", STSHost{Name: "sts.eu-west-1.amazonaws.com", Region: "eu-west-1"}},
		{"aws", STSHost{Name: "sts-fips.us-east-1.amazonaws.com", Region: "us-east-1", FIPS: true}},
		{"aws", STSHost{Name: "sts.eu-west-1.api.aws", Region: "eu-west-1", DualStack: true}},
		{"aws", STSHost{Name: "sts-fips.us-east-1.api.aws", Region: "us-east-1", FIPS: true, DualStack: true}},
		{"aws-us-gov", STSHost{Name: "sts.us-gov-west-1.amazonaws.com", Region: "us-gov-west-1", FIPS: true}},
		{"aws-cn", STSHost{Name: "sts.cn-north-1.amazonaws.com.cn", Region: "cn-north-1"}},
	} {
		p, _ := LookupPartition(tt.partition)
		set, err := NewHostSet(p)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := set.Lookup(tt.want.Name); got != tt.want {
			t.Errorf("Lookup(%s) = %+v, want %+v", tt.want.Name, got, tt.want)
		}
	}
}

func TestNewHostSetExtraRegions(t *testing.T) {
	t.Parallel()
	aws, _ := LookupPartition("aws")
	for _, tt := range []struct {
		name, region, wantErr string
	}{
		{"none", "", ""},
		{"known", "eu-west-1", ""},
		{"newer than this program", "eu-west-9", ""},
		{"no digit", "not-a-region", "not the name of an AWS region"},
		{"a path", "us-east-1/evil", "not the name of an AWS region"},
		{"dots", "us-east-1.evil.example", "not the name of an AWS region"},
		{"capitals", "EU-WEST-1", "not the name of an AWS region"},
		{"of a partition with the same suffix", "us-gov-west-1", "belongs to partition aws-us-gov"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set, err := NewHostSet(aws, tt.region)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error is %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.region == "" {
				return
			}
			if _, ok := set.Lookup("sts." + tt.region + ".amazonaws.com"); !ok {
				t.Error("its host is not in the set")
			}
		})
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	aws, _ := LookupPartition("aws")
	set, err := NewHostSet(aws)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"sts.us-gov-west-1.amazonaws.com": "partition aws-us-gov",
		"sts.cn-north-1.amazonaws.com.cn": "partition aws-cn",
		"sts.nowhere-1.amazonaws.com":     "no STS endpoint of a region",
		"example.com":                     "not an STS endpoint",
		"":                                "not an STS endpoint",
	} {
		if got := set.Explain(host); !strings.Contains(got, want) {
			t.Errorf("Explain(%q) = %q, want it to hold %q", host, got, want)
		}
	}
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	want := []string{"aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"}
	if got := PartitionIDs(); !slices.Equal(got, want) {
		t.Errorf("PartitionIDs() = %v, want %v", got, want)
	}
	if _, ok := LookupPartition("AWS"); ok {
		t.Error("there is a partition AWS")
	}
	seen := make(map[string]string)
	for _, id := range want {
		p, ok := LookupPartition(id)
		if !ok {
			t.Fatalf("no partition %s", id)
		}
		if !slices.IsSorted(p.Regions) {
			t.Errorf("%s: regions are not sorted, and HasRegion needs that", id)
		}
		for _, region := range p.Regions {
			if other, twice := seen[region]; twice {
				t.Errorf("region %s is in %s and %s", region, other, id)
			}
			seen[region] = id
			if !LooksLikeRegion(region) {
				t.Errorf("%s does not look like a region", region)
			}
			if found, ok := PartitionOfRegion(region); !ok || found.ID != id {
				t.Errorf("PartitionOfRegion(%s) = %s, want %s", region, found.ID, id)
			}
		}
	}
	if _, ok := PartitionOfRegion("nowhere-1"); ok {
		t.Error("nowhere-1 has a partition")
	}
}

func BenchmarkHostLookup(b *testing.B) {
	p, _ := LookupPartition("aws")
	set, err := NewHostSet(p)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := set.Lookup("sts.us-west-2.amazonaws.com"); !ok {
			b.Fatal("not found")
		}
		if _, ok := set.Lookup("sts.evil.amazonaws.com"); ok {
			b.Fatal("found")
		}
	}
}
