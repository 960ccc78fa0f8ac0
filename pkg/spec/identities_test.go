package spec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capiam/capiam/pkg/iam"
)

func TestIdentities(t *testing.T) {
	t.Parallel()
	s, err := Parse("spec.yaml", []byte(minimal+`  mapRoles:
  - {roleARN: "arn:aws:iam::111122223333:role/Admin", username: admin}
  - {roleARN: "arn:aws:iam::444455556666:role/team/admin", username: admin2}
  - {roleARN: "arn:aws:iam::111122223333:role/a+b@c", username: odd}
  - {roleARN: "arn:aws:iam::111122223333:role/Node", username: "system:node:{{EC2PrivateDNSName}}", groups: ["system:nodes"]}
  - {roleARN: "arn:aws:iam::444455556666:role/capiam-example", username: taken}
  mapUsers:
  - {userARN: "arn:aws:iam::111122223333:user/ci/admin", username: ci}
  - {userARN: "arn:aws:iam::111122223333:user/stranger", username: stranger}
  ssoRoles:
  - {accountID: "111122223333", permissionSetName: Viewer, username: viewer, groups: [view]}
  mapAccounts: ["123456789012", "444455556666"]
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	names := make(map[string]bool)
	for _, id := range s.Identities() {
		got = append(got, strings.Join([]string{id.Section, id.Name, id.ARN.String(), id.Session, id.Entry.Username}, " "))
		if again, err := iam.ParseARN(id.ARN.String()); err != nil || again != id.ARN {
			t.Errorf("%s: %v", id.ARN, err)
		}
		if names[id.Name] {
			t.Errorf("name %s given twice", id.Name)
		}
		names[id.Name] = true
	}
	want := []string{
		"mapRoles Admin arn:aws:iam::111122223333:role/Admin capiam admin",
		"mapRoles admin-444455556666 arn:aws:iam::444455556666:role/team/admin capiam admin2",
		"mapRoles a-b-c arn:aws:iam::111122223333:role/a+b@c capiam odd",
		"mapRoles capiam-example arn:aws:iam::444455556666:role/capiam-example capiam taken",
		"ssoRoles Viewer arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/us-west-2/AWSReservedSSO_Viewer_3535a4cec8253ff1 capiam viewer",
		"mapUsers admin-111122223333 arn:aws:iam::111122223333:user/ci/admin  ci",
		"mapUsers stranger-111122223333 arn:aws:iam::111122223333:user/stranger  stranger",
		"mapAccounts capiam-example-123456789012 arn:aws:iam::123456789012:role/capiam-example capiam arn:aws:iam::123456789012:role/capiam-example",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
