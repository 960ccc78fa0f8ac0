package token

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/capiam/capiam/pkg/iam"
)

const (
	clusterIDHeader = "x-k8s-aws-id"
	// presignExpires is what every client of this family signs, in seconds.
	// STS goes by the date alone and honours the request for 15 minutes.
	presignExpires = "60"
	// presignLifetime leaves a minute of those 15.
	presignLifetime = 14 * time.Minute
)

// Presign makes a presigned GetCallerIdentity request for the cluster. The
// endpoint is always STS's real one in the region, whatever endpoint_url says:
// the token names it, and a server calls no other.
//
// Errors about credentials wrap ErrNoCredentials.
func Presign(ctx context.Context, o Options) (Token, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Token{}, err
	}
	s, err := newSession(ctx, o)
	if err != nil {
		return Token{}, err
	}
	now := o.Clock().UTC().Truncate(time.Second)
	client := sts.NewFromConfig(s.config, func(so *sts.Options) {
		so.BaseEndpoint = nil
	})
	request, err := sts.NewPresignClient(client).PresignGetCallerIdentity(ctx, nil, func(p *sts.PresignOptions) {
		p.Presigner = &signerAt{signer: v4.NewSigner(), time: now}
		p.ClientOptions = append(p.ClientOptions, sts.WithAPIOptions(
			smithyhttp.SetHeaderValue(clusterIDHeader, o.ClusterID),
			// The signer moves headers of this kind into the query.
			smithyhttp.SetHeaderValue("X-Amz-Expires", presignExpires),
		))
	})
	if err != nil {
		return Token{}, fmt.Errorf("presign GetCallerIdentity for region %s: %w", s.config.Region, err)
	}
	u, err := url.Parse(request.URL)
	if err != nil || u.Scheme != "https" || !isSTSHost(u.Host, s.config.Region) {
		return Token{}, fmt.Errorf("region %q: STS has no endpoint there that is known; check --region, AWS_REGION and the profile, and AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT", s.config.Region)
	}
	return Token{
		Value:  Prefix + base64.RawURLEncoding.EncodeToString([]byte(request.URL)),
		Expiry: s.limit(now.Add(presignLifetime)),
	}, nil
}

// isSTSHost tells whether the host is an STS endpoint of the region, in
// whatever partition.
func isSTSHost(host, region string) bool {
	for _, id := range iam.PartitionIDs() {
		p, ok := iam.LookupPartition(id)
		if !ok {
			continue
		}
		if region == globalRegion && host != "" && host == p.GlobalSTSHost {
			return true
		}
		for _, h := range p.STSHosts(region) {
			if h.Name == host {
				return true
			}
		}
	}
	return false
}

// signerAt signs at a given time instead of the system's.
type signerAt struct {
	signer *v4.Signer
	time   time.Time
}

// PresignHTTP implements sts.HTTPPresignerV4.
func (s *signerAt) PresignHTTP(ctx context.Context, creds aws.Credentials, r *http.Request, payloadHash, service, region string, _ time.Time, optFns ...func(*v4.SignerOptions)) (string, http.Header, error) {
	return s.signer.PresignHTTP(ctx, creds, r, payloadHash, service, region, s.time, optFns...)
}
