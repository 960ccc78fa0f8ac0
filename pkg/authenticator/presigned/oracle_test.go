package presigned

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestOracle runs the conformance table against aws-iam-authenticator itself,
// so that the field "original" stays true. It is opt-in:
//
//	CAPIAM_ORACLE=/path/to/aws-iam-authenticator go test -run Oracle ./pkg/authenticator/presigned
//
// The program's way to STS leads nowhere: a token that it lets through ends in
// an error of the call, one that it refuses in an error of format.
func TestOracle(t *testing.T) {
	program := os.Getenv("CAPIAM_ORACLE")
	if program == "" {
		t.Skip("CAPIAM_ORACLE does not name the program")
	}
	for _, c := range conformanceCases(t) {
		t.Run(c.ID, func(t *testing.T) {
			if c.Region != "" {
				t.Skip("the original learns its own region from EC2")
			}
			partition := c.Partition
			if partition == "" {
				partition = "aws"
			}
			token := strings.ReplaceAll(c.tokenAt(time.Now().UTC()), "\x00", "")
			cmd := exec.Command(program, "verify", "-i", "my-cluster", "--partition", partition, "-t", token)
			cmd.Env = []string{"HTTPS_PROXY=http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED=true", "PATH=/nowhere", "HOME=" + t.TempDir()}
			out, _ := cmd.CombinedOutput()
			got := "accept"
			switch text := string(out); {
			case strings.Contains(text, "input token was not properly formatted"), strings.Contains(text, "token cannot be empty"), strings.Contains(text, "error: token not specified"):
				got = "reject"
			case !strings.Contains(text, "sts getCallerIdentity failed"):
				t.Fatalf("neither refused nor let through: %s", text)
			}
			want := c.Want
			if c.Original != "" {
				want = c.Original
			}
			if got != want {
				t.Errorf("the original's answer is %s, the table says %s: %s", got, want, out)
			}
		})
	}
}
