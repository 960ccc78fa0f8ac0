package install

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capiam/capiam/pkg/applied"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/render"
)

// CheckAWSAuth returns what is not as it should be in the ConfigMap aws-auth, a
// line each: that it is gone, what of it is not in force, and which of the
// entries that capiam applied somebody has changed or removed since.
func (i *Installer) CheckAWSAuth(ctx context.Context) ([]string, error) {
	live, err := i.kube.CoreV1().ConfigMaps(render.Namespace).Get(ctx, render.AWSAuthName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return []string{awsAuthName + " does not exist; its last entries stay in force only for a while"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", awsAuthName, err)
	}
	return checkAWSAuth(live)
}

func checkAWSAuth(live *corev1.ConfigMap) ([]string, error) {
	table, findings := mapping.Parse(live.Data)
	var wrong []string
	for _, f := range findings {
		wrong = append(wrong, f.String())
	}
	last, err := applied.Decode(live.Annotations[applied.Annotation], table.Mappings())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", awsAuthName, err)
	}
	// What it would take to have again what was applied is what somebody has
	// changed since.
	plan := mapping.NewPlan(last, last, table)
	for _, item := range plan.Added {
		wrong = append(wrong, "removed since it was applied: "+item.String())
	}
	for _, change := range plan.Changed {
		wrong = append(wrong, "changed since it was applied: "+change.String())
	}
	return wrong, nil
}
