package iam

import (
	"slices"
	"strings"
)

// Partition is a group of AWS regions with accounts and endpoints of its own.
// An ARN of one partition never names anything in another.
type Partition struct {
	// ID is the second field of every ARN of the partition, "aws-us-gov" say.
	ID string
	// DNSSuffix ends the name of an ordinary regional endpoint.
	DNSSuffix string
	// DualStackSuffix ends the name of an endpoint that has IPv6 too. It is
	// empty where STS has none.
	DualStackSuffix string
	// TokenIssuerSuffix ends the host name of an account's OIDC issuer
	// (outbound identity federation). It is empty where the service does not
	// exist.
	TokenIssuerSuffix string
	// Regions are the names of the regions, sorted.
	Regions []string
	// GlobalSTSHost is the STS endpoint outside any region. It is empty where
	// there is none.
	GlobalSTSHost string

	// plainIsFIPS says that the ordinary endpoint is the FIPS endpoint, so
	// that there is no "sts-fips" name with DNSSuffix.
	plainIsFIPS bool
}

// partitions holds the eight partitions in the order AWS lists them. Names,
// suffixes and regions are those of the AWS SDK's partition data
// (aws-sdk-go-v2 v1.47, partitions.json and the endpoint tables of STS).
var partitions = []Partition{
	{
		ID: "aws", DNSSuffix: "amazonaws.com", DualStackSuffix: "api.aws",
		TokenIssuerSuffix: "tokens.sts.global.api.aws",
		GlobalSTSHost:     "sts.amazonaws.com",
		Regions: []string{
			"af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2",
			"ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2",
			"ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6",
			"ap-southeast-7", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2",
			"eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3",
			"il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1",
			"us-east-1", "us-east-2", "us-west-1", "us-west-2",
		},
	},
	{
		ID: "aws-cn", DNSSuffix: "amazonaws.com.cn", DualStackSuffix: "api.amazonwebservices.com.cn",
		TokenIssuerSuffix: "tokens.sts.global.api.amazonwebservices.com.cn",
		Regions:           []string{"cn-north-1", "cn-northwest-1"},
	},
	{
		ID: "aws-us-gov", DNSSuffix: "amazonaws.com", DualStackSuffix: "api.aws",
		TokenIssuerSuffix: "tokens.sts.global.api.aws",
		Regions:           []string{"us-gov-east-1", "us-gov-west-1"},
		plainIsFIPS:       true,
	},
	{ID: "aws-iso", DNSSuffix: "c2s.ic.gov", Regions: []string{"us-iso-east-1", "us-iso-west-1"}},
	{ID: "aws-iso-b", DNSSuffix: "sc2s.sgov.gov", Regions: []string{"us-isob-east-1", "us-isob-west-1"}},
	{ID: "aws-iso-e", DNSSuffix: "cloud.adc-e.uk", Regions: []string{"eu-isoe-west-1"}},
	{ID: "aws-iso-f", DNSSuffix: "csp.hci.ic.gov", Regions: []string{"us-isof-east-1", "us-isof-south-1"}},
	{
		ID: "aws-eusc", DNSSuffix: "amazonaws.eu", DualStackSuffix: "api.amazonwebservices.eu",
		Regions: []string{"eusc-de-east-1"},
	},
}

// PartitionIDs returns the names of all partitions, in AWS's order.
func PartitionIDs() []string {
	ids := make([]string, len(partitions))
	for i := range partitions {
		ids[i] = partitions[i].ID
	}
	return ids
}

// LookupPartition returns the partition with that ID. The comparison is exact:
// AWS knows no "AWS".
func LookupPartition(id string) (Partition, bool) {
	for i := range partitions {
		if partitions[i].ID == id {
			return partitions[i], true
		}
	}
	return Partition{}, false
}

// HasRegion tells whether the region belongs to the partition.
func (p Partition) HasRegion(region string) bool {
	_, found := slices.BinarySearch(p.Regions, region)
	return found
}

// PartitionOfRegion returns the partition a region belongs to, by its exact
// name.
func PartitionOfRegion(region string) (Partition, bool) {
	for i := range partitions {
		if partitions[i].HasRegion(region) {
			return partitions[i], true
		}
	}
	return Partition{}, false
}

// LooksLikeRegion tells whether a name has the form every AWS region name has:
// lower-case words and digits joined by hyphens, the last one ending in a
// digit. It does not say that such a region exists.
func LooksLikeRegion(name string) bool {
	if len(name) < 4 || len(name) > 40 || !strings.Contains(name, "-") {
		return false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '-' && i > 0 && name[i-1] != '-':
		default:
			return false
		}
	}
	last := name[len(name)-1]
	return last >= '0' && last <= '9'
}
