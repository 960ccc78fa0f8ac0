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

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// maxAnswer bounds an answer: a hundred instances with all their tags.
const maxAnswer = 8 << 20

// client asks EC2.
type client struct {
	opts      Options
	transport *http.Transport
	signer    *v4.Signer
}

func newClient(opts Options) *client {
	return &client{opts: opts, transport: opts.Network.Transport(2), signer: v4.NewSigner()}
}

// describe returns the private DNS names of those instances that EC2 knows. The
// filter, unlike a list of IDs, does not fail for one that it does not know.
func (c *client) describe(ctx context.Context, with *access, ids []string) (map[string]string, error) {
	form := url.Values{"Action": {"DescribeInstances"}, "Version": {"2016-11-15"}, "Filter.1.Name": {"instance-id"}}
	for i, id := range ids {
		form.Set("Filter.1.Value."+strconv.Itoa(i+1), id)
	}
	body := form.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, with.endpoint+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	if err := c.signer.SignHTTP(ctx, with.creds, req, hex.EncodeToString(sum[:]), "ec2", with.region, c.opts.Now()); err != nil {
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
