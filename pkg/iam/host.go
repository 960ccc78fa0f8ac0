package iam

import (
	"fmt"
	"slices"
	"strings"
)

// STSHost is one of the names STS answers on.
type STSHost struct {
	// Name is the host name, as it stands in a URL.
	Name string
	// Region is empty for the endpoint outside any region.
	Region string
	// FIPS and DualStack tell which of a region's four endpoints it is.
	FIPS, DualStack bool
}

// STSHosts returns the names STS answers on in one region of the partition:
// at most four, by FIPS and dual-stack.
func (p Partition) STSHosts(region string) []STSHost {
	hosts := []STSHost{{Name: "sts." + region + "." + p.DNSSuffix, Region: region, FIPS: p.plainIsFIPS}}
	if !p.plainIsFIPS {
		hosts = append(hosts, STSHost{Name: "sts-fips." + region + "." + p.DNSSuffix, Region: region, FIPS: true})
	}
	if p.DualStackSuffix != "" {
		hosts = append(hosts,
			STSHost{Name: "sts." + region + "." + p.DualStackSuffix, Region: region, DualStack: true},
			STSHost{Name: "sts-fips." + region + "." + p.DualStackSuffix, Region: region, FIPS: true, DualStack: true})
	}
	return hosts
}

// HostSet is the set of STS host names a verifier may call. It is built once;
// a lookup costs one hash and never resolves anything.
type HostSet struct {
	partition string
	hosts     map[string]STSHost
}

// NewHostSet returns the STS hosts of a partition's regions. The extra regions
// are names the operator vouches for, because they are newer than this program
// or not public; each must look like a region's name.
func NewHostSet(p Partition, extraRegions ...string) (*HostSet, error) {
	s := &HostSet{partition: p.ID, hosts: make(map[string]STSHost, 4*len(p.Regions)+1)}
	if p.GlobalSTSHost != "" {
		s.hosts[p.GlobalSTSHost] = STSHost{Name: p.GlobalSTSHost}
	}
	for _, region := range p.Regions {
		s.add(p, region)
	}
	for _, region := range extraRegions {
		if region == "" || p.HasRegion(region) {
			continue
		}
		if !LooksLikeRegion(region) {
			return nil, fmt.Errorf("region %q: not the name of an AWS region (words joined by hyphens, ending in a digit, such as %q)", region, p.Regions[0])
		}
		if other, ok := PartitionOfRegion(region); ok && other.DNSSuffix == p.DNSSuffix {
			return nil, fmt.Errorf("region %q belongs to partition %s, not %s", region, other.ID, p.ID)
		}
		s.add(p, region)
	}
	return s, nil
}

func (s *HostSet) add(p Partition, region string) {
	for _, h := range p.STSHosts(region) {
		s.hosts[h.Name] = h
	}
}

// Lookup returns the STS endpoint with exactly that name: no port, no trailing
// dot, no capital letters.
func (s *HostSet) Lookup(host string) (STSHost, bool) {
	h, ok := s.hosts[host]
	return h, ok
}

// Names returns all the host names, sorted.
func (s *HostSet) Names() []string {
	names := make([]string, 0, len(s.hosts))
	for name := range s.hosts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Explain says why a host is not in the set, for the operator's log: the wrong
// partition, an unknown region, or no STS host at all.
func (s *HostSet) Explain(host string) string {
	for _, p := range partitions {
		if host != "" && host == p.GlobalSTSHost {
			return fmt.Sprintf("it belongs to partition %s, and this cluster takes %s", p.ID, s.partition)
		}
		for _, region := range p.Regions {
			for _, h := range p.STSHosts(region) {
				if h.Name == host {
					return fmt.Sprintf("it belongs to partition %s, and this cluster takes %s", p.ID, s.partition)
				}
			}
		}
	}
	if strings.HasPrefix(host, "sts.") || strings.HasPrefix(host, "sts-fips.") {
		return fmt.Sprintf("no STS endpoint of a region in partition %s has that name", s.partition)
	}
	return "it is not an STS endpoint"
}
