package authenticator

import (
	"context"
	"net/http"
	"strings"
	"testing"

	awscreds "github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/capiam/capiam/pkg/iam"
	"github.com/capiam/capiam/pkg/stssim"
	"github.com/capiam/capiam/pkg/token"
)

// TestNodesWithoutARegion is the swap of images on EC2 where instance metadata
// do not answer.
func TestNodesWithoutARegion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const nodes = "- rolearn: arn:aws:iam::111122223333:role/Node\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:nodes]\n"
	const people = "- rolearn: " + roleARN + "\n  username: dev\n"
	w.awsAuth(map[string]string{"mapRoles": people})
	w.start(nil)
	w.waitReady()
	readyz := func() string {
		status, text := w.get(w.health + "/readyz")
		if status != http.StatusOK {
			t.Errorf("readyz: %d %s", status, text)
		}
		return text
	}
	if text := readyz(); strings.Contains(text, "nodenames") {
		t.Errorf("no mapping needs names, and readyz has: %s", text)
	}
	w.awsAuth(map[string]string{"mapRoles": people + nodes})
	w.eventually("readyz tells", func() bool { return strings.Contains(readyz(), "no region: set server.region or AWS_REGION") })
	w.eventually("a warning", func() bool {
		return strings.Contains(w.log.String(), `"level":"WARN","msg":"EC2 cannot be asked for nodes' names"`)
	})

	arn, err := iam.ParseARN("arn:aws:iam::111122223333:role/Node")
	if err != nil {
		t.Fatal(err)
	}
	c := w.state.Ensure(stssim.Identity{Profile: "node", ARN: arn, Session: "i-0c6f21bf1f24f9708"})
	tok, err := token.Presign(context.Background(), token.Options{
		ClusterID: clusterID, Region: region, HTTPClient: w.client,
		Credentials: awscreds.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := w.review(tok.Value); a.HTTP != http.StatusOK || a.Status.Authenticated || !strings.HasPrefix(a.Status.Error, "template_unfilled: ") || !strings.Contains(a.Status.Error, "set server.region or AWS_REGION") {
		t.Errorf("node: %d %+v", a.HTTP, a.Status)
	}
	if a := w.review(w.presign(roleARN, clusterID)); !a.Status.Authenticated {
		t.Errorf("somebody else: %+v", a.Status)
	}
	w.awsAuth(map[string]string{"mapRoles": people})
	w.eventually("readyz is content", func() bool { return !strings.Contains(readyz(), "nodenames") })
}
