package install

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capiam/capiam/pkg/applied"
	"github.com/capiam/capiam/pkg/mapping"
)

func TestCheckAWSAuth(t *testing.T) {
	t.Parallel()
	table := mapping.Mappings{Roles: []mapping.Entry{
		{ARN: "arn:aws:iam::111122223333:role/Dev", Username: "dev", Groups: []string{"devs"}},
	}}
	note, err := applied.Encode(table)
	if err != nil {
		t.Fatal(err)
	}
	good := mapping.Encode(table)["mapRoles"]
	for name, test := range map[string]struct {
		roles string
		want  string
	}{
		"as applied":     {good, ""},
		"foreign entry":  {good + "- rolearn: arn:aws:iam::111122223333:role/Other\n  username: other\n", ""},
		"more rights":    {strings.Replace(good, "devs", "system:masters", 1), "changed since it was applied"},
		"removed":        {"", "removed since it was applied"},
		"broken":         {"- rolearn: [oops\n", "mapRoles"},
		"damaged entry":  {good + "- rolearn: arn:aws:iam::111122223333:role/X\n  username: 5\n", "username"},
		"foreign nobody": {good + "- rolearn: nonsense\n  username: x\n", "nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := checkAWSAuth(&corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{applied.Annotation: note}},
				Data:       map[string]string{"mapRoles": test.roles},
			})
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(got, "\n")
			if (test.want == "") != (len(got) == 0) || !strings.Contains(text, test.want) {
				t.Errorf("got %q, want something with %q", got, test.want)
			}
		})
	}
}
