package ec2dns

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/capiam/capiam/pkg/iam"
)

// maxAnswer bounds an answer: a hundred instances with all their tags.
const maxAnswer = 8 << 20

// client asks EC2.
type client struct {
	opts      Options
	endpoint  string
	transport *http.Transport
	signer    *v4.Signer

	mu    sync.Mutex
	creds aws.CredentialsProvider
}

func newClient(opts Options) *client {
	c := &client{opts: opts, endpoint: opts.Endpoint, transport: opts.Network.Transport(2), signer: v4.NewSigner(), creds: opts.Credentials}
	if c.endpoint == "" {
		c.endpoint = "https://ec2." + opts.Region + "." + opts.Partition.DNSSuffix
	}
	return c
}

// credentials loads the standard chain at the first call: asking for it may
// take as long as an instance's metadata take to answer.
func (c *client) credentials(ctx context.Context) (aws.Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.creds == nil {
		cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(c.opts.Region), config.WithHTTPClient(&http.Client{Transport: c.transport}))
		if err != nil {
			return aws.Credentials{}, fmt.Errorf("AWS configuration: %w", err)
		}
		c.creds = cfg.Credentials
		if c.opts.RoleARN != "" {
			c.creds = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg, c.sourceHeaders), c.opts.RoleARN))
		}
	}
	creds, err := c.creds.Retrieve(ctx)
	if err != nil {
		return creds, fmt.Errorf("AWS credentials: %w", err)
	}
	return creds, nil
}

// sourceHeaders adds what lets the role's trust policy name the source.
func (c *client) sourceHeaders(o *sts.Options) {
	if c.opts.SourceARN == "" {
		return
	}
	o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("x-amz-source-arn", c.opts.SourceARN))
	// arn:partition:service:region:account:resource
	if fields := strings.SplitN(c.opts.SourceARN, ":", 6); len(fields) == 6 && iam.IsAccountID(fields[4]) {
		o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("x-amz-source-account", fields[4]))
	}
}

// describe returns the private DNS names of those instances that EC2 knows. The
// filter, unlike a list of IDs, does not fail for one that it does not know.
func (c *client) describe(ctx context.Context, ids []string) (map[string]string, error) {
	form := url.Values{"Action": {"DescribeInstances"}, "Version": {"2016-11-15"}, "Filter.1.Name": {"instance-id"}}
	for i, id := range ids {
		form.Set("Filter.1.Value."+strconv.Itoa(i+1), id)
	}
	body := form.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	creds, err := c.credentials(ctx)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(body))
	if err := c.signer.SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), "ec2", c.opts.Region, c.opts.Now()); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, errors.New("no answer from EC2")
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, errors.New("EC2's answer broke off")
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("EC2 answered with status %d%s", resp.StatusCode, errorCode(data))
	}
	if len(data) > maxAnswer {
		return nil, errors.New("EC2's answer is too large")
	}
	return parseInstances(data)
}

// parseInstances reads a DescribeInstances answer.
func parseInstances(data []byte) (map[string]string, error) {
	var answer struct {
		XMLName   xml.Name `xml:"DescribeInstancesResponse"`
		Instances []struct {
			ID   string `xml:"instanceId"`
			Name string `xml:"privateDnsName"`
		} `xml:"reservationSet>item>instancesSet>item"`
	}
	if err := xml.Unmarshal(data, &answer); err != nil {
		return nil, errors.New("EC2's answer is not XML of the expected form")
	}
	names := make(map[string]string, len(answer.Instances))
	for _, i := range answer.Instances {
		if i.Name != "" {
			names[i.ID] = i.Name
		}
	}
	return names, nil
}

// errorCode returns the code of EC2's error, if it is one.
func errorCode(data []byte) string {
	var e struct {
		Codes []string `xml:"Errors>Error>Code"`
	}
	if xml.Unmarshal(data, &e) != nil || len(e.Codes) == 0 || len(e.Codes[0]) > 80 {
		return ""
	}
	return " (" + strconv.QuoteToASCII(e.Codes[0]) + ")"
}
