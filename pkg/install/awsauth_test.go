package install

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/capiam/capiam/pkg/applied"
	"github.com/capiam/capiam/pkg/mapping"
)

// offline returns an Installer for objects in memory. They know no conflicts
// and no server-side apply; TestLive is for those.
func offline(objects ...runtime.Object) (*Installer, *fake.Clientset) {
	kube := fake.NewClientset(objects...)
	return &Installer{log: slog.New(slog.DiscardHandler), kube: kube, now: time.Now, poll: time.Millisecond, staleAfter: staleAfter}, kube
}

func awsAuth(data, annotations map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "aws-auth", Annotations: annotations},
		Data:       data,
	}
}

func TestApplyAWSAuthWhereThereIsNone(t *testing.T) {
	t.Parallel()
	i, kube := offline()
	desired := mapping.Mappings{Roles: []mapping.Entry{role("a", "a")}}
	plan, wrote, err := i.ApplyAWSAuth(t.Context(), desired, nil)
	if err != nil || !wrote || len(plan.Added) != 1 {
		t.Fatalf("plan %+v, wrote %v, %v", plan, wrote, err)
	}
	cm, err := kube.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "aws-auth", metav1.GetOptions{})
	if err != nil || !strings.Contains(cm.Data["mapRoles"], "role/a") || cm.Annotations[applied.Annotation] == "" {
		t.Errorf("%+v, %v", cm, err)
	}
	if plan, err := i.PlanAWSAuth(t.Context(), desired); err != nil || !plan.Empty() {
		t.Errorf("afterwards: %v, %v", plan.Lines(), err)
	}
}

func TestApplyAWSAuthWritesNothingForNothing(t *testing.T) {
	t.Parallel()
	foreign := awsAuth(map[string]string{"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/x\n  username: x\n"}, nil)
	for name, objects := range map[string][]runtime.Object{"no ConfigMap": nil, "other writers' only": {foreign}} {
		i, kube := offline(objects...)
		if _, wrote, err := i.ApplyAWSAuth(t.Context(), mapping.Mappings{}, nil); err != nil || wrote {
			t.Errorf("%s: wrote %v, %v", name, wrote, err)
		}
		for _, a := range kube.Actions() {
			if a.GetVerb() != "get" {
				t.Errorf("%s: %s", name, a.GetVerb())
			}
		}
	}
}

// TestLostNoteIsWrittenAgain: the entries are right, but nothing says that they
// are capiam's.
func TestLostNoteIsWrittenAgain(t *testing.T) {
	t.Parallel()
	desired := mapping.Mappings{Roles: []mapping.Entry{role("a", "a")}}
	i, kube := offline(awsAuth(mapping.Encode(desired), nil))
	asked := false
	_, wrote, err := i.ApplyAWSAuth(t.Context(), desired, func(*mapping.Plan) error { asked = true; return nil })
	if err != nil || !wrote || asked {
		t.Fatalf("wrote %v, asked %v, %v", wrote, asked, err)
	}
	cm, err := kube.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "aws-auth", metav1.GetOptions{})
	if err != nil || cm.Annotations[applied.Annotation] == "" {
		t.Errorf("%+v, %v", cm, err)
	}
}

func TestApplyAWSAuthConflicts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		conflicts int
		ok        bool
	}{{"a few", 3, true}, {"without end", 1000, false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i, kube := offline(awsAuth(nil, nil))
			left := tt.conflicts
			kube.PrependReactor("update", "configmaps", func(kubetesting.Action) (bool, runtime.Object, error) {
				if left--; left >= 0 {
					return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, "aws-auth", errors.New("changed"))
				}
				return false, nil, nil
			})
			asked := 0
			_, _, err := i.ApplyAWSAuth(t.Context(), mapping.Mappings{Roles: []mapping.Entry{role("a", "a")}}, func(*mapping.Plan) error { asked++; return nil })
			if (err == nil) != tt.ok {
				t.Errorf("error %v", err)
			}
			if want := min(tt.conflicts+1, maxConflicts); asked != want {
				t.Errorf("planned %d times, want %d", asked, want)
			}
		})
	}
}

func TestApplyAWSAuthRefuses(t *testing.T) {
	t.Parallel()
	var many mapping.Mappings
	for n := range 12000 {
		many.Roles = append(many.Roles, role(fmt.Sprintf("a-role-with-a-rather-long-name-%06d", n), "user"))
	}
	one := mapping.Mappings{Roles: []mapping.Entry{role("a", "a")}}
	for _, tt := range []struct {
		name    string
		live    *corev1.ConfigMap
		desired mapping.Mappings
		want    string
	}{
		{"a damaged note", awsAuth(nil, map[string]string{applied.Annotation: "{"}), one, applied.Annotation},
		{"a key that is not YAML", awsAuth(map[string]string{"mapRoles": "]["}, nil), one, "mapRoles"},
		{"more than fits", awsAuth(nil, nil), many, "a ConfigMap holds 1048576"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i, kube := offline(tt.live)
			_, wrote, err := i.ApplyAWSAuth(t.Context(), tt.desired, nil)
			if wrote || err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "kube-system/aws-auth") {
				t.Errorf("wrote %v, error %v, want one with %q", wrote, err, tt.want)
			}
			for _, a := range kube.Actions() {
				if a.GetVerb() != "get" {
					t.Error(a.GetVerb())
				}
			}
		})
	}
}

// TestRestoredAWSAuthRevokes: a section that a change has made is taken back so
// that a server sees that nobody is meant.
func TestRestoredAWSAuthRevokes(t *testing.T) {
	t.Parallel()
	was := mapping.Encode(mapping.Mappings{Users: []mapping.Entry{{ARN: "arn:aws:iam::111122223333:user/u", Username: "u"}}})
	i, kube := offline(awsAuth(was, nil))
	before, err := i.SnapshotAWSAuth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := i.ApplyAWSAuth(t.Context(), mapping.Mappings{Roles: []mapping.Entry{role("a", "a")}}, nil); err != nil {
		t.Fatal(err)
	}
	after, err := i.SnapshotAWSAuth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := i.RestoreAWSAuth(t.Context(), before, after); err != nil {
		t.Fatal(err)
	}
	cm, err := kube.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "aws-auth", metav1.GetOptions{})
	if err != nil || len(cm.Data) != 2 || cm.Data["mapUsers"] != was["mapUsers"] || cm.Data["mapRoles"] != "[]\n" {
		t.Errorf("%+v, %v", cm, err)
	}
}
