package install

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capiam/capiam/pkg/applied"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/render"
)

// maxConflicts bounds how often a change is worked out anew because somebody
// else wrote in between.
const maxConflicts = 10

// awsAuthName is the ConfigMap in messages.
const awsAuthName = "ConfigMap " + render.Namespace + "/" + render.AWSAuthName

// PlanAWSAuth works out what ApplyAWSAuth would do, and writes nothing.
func (i *Installer) PlanAWSAuth(ctx context.Context, desired mapping.Mappings) (*mapping.Plan, error) {
	_, plan, err := i.planAWSAuth(ctx, desired)
	return plan, err
}

// ApplyAWSAuth makes the ConfigMap aws-auth hold the desired mappings instead
// of those that capiam applied last, and reports whether it wrote. Entries of
// other writers stay. If somebody else writes at the same time, the change is
// worked out anew.
//
// Approve, if not nil, is shown every plan before it is carried out, and stops
// it with an error: that is where a plan is printed and guarded. It is not
// called when there is nothing to do.
func (i *Installer) ApplyAWSAuth(ctx context.Context, desired mapping.Mappings, approve func(*mapping.Plan) error) (*mapping.Plan, bool, error) {
	note, err := applied.Encode(desired)
	if err != nil {
		return nil, false, err
	}
	for range maxConflicts {
		live, plan, err := i.planAWSAuth(ctx, desired)
		if err != nil {
			return nil, false, err
		}
		if plan.Empty() && noted(live, note, desired) {
			return plan, false, nil
		}
		if approve != nil && !plan.Empty() {
			if err := approve(plan); err != nil {
				return plan, false, err
			}
		}
		err = i.writeAWSAuth(ctx, live, plan, note)
		if err == nil {
			return plan, true, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return plan, false, fmt.Errorf("write %s as %s: %w", awsAuthName, FieldManager, err)
		}
		i.log.Info("somebody else has written aws-auth, planning again")
	}
	return nil, false, fmt.Errorf("write %s as %s: somebody else has written it each of the last %d times", awsAuthName, FieldManager, maxConflicts)
}

// noted tells whether the ConfigMap has the right note. Where there is nothing
// of capiam's, there need not be one, nor a ConfigMap.
func noted(live *corev1.ConfigMap, note string, desired mapping.Mappings) bool {
	none := len(desired.Roles)+len(desired.Users)+len(desired.Accounts) == 0
	if live == nil {
		return none
	}
	has, ok := live.Annotations[applied.Annotation]
	return has == note || none && !ok
}

func (i *Installer) planAWSAuth(ctx context.Context, desired mapping.Mappings) (*corev1.ConfigMap, *mapping.Plan, error) {
	live, err := i.kube.CoreV1().ConfigMaps(render.Namespace).Get(ctx, render.AWSAuthName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, mapping.NewPlan(mapping.Mappings{}, desired, nil), nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", awsAuthName, err)
	}
	table, findings := mapping.Parse(live.Data)
	for _, f := range findings {
		i.log.Warn("aws-auth holds something that is not in force", "finding", f.String())
	}
	last, err := applied.Decode(live.Annotations[applied.Annotation], table.Mappings())
	if err != nil {
		// Without the note nothing can be told to be capiam's, so nothing
		// would be removed. That is safe, but has to be known.
		return nil, nil, fmt.Errorf("%s: %w: correct or remove it; without it, entries that the spec no longer has stay", awsAuthName, err)
	}
	return live, mapping.NewPlan(last, desired, table), nil
}

func (i *Installer) writeAWSAuth(ctx context.Context, live *corev1.ConfigMap, plan *mapping.Plan, note string) error {
	data, err := plan.Apply()
	if err != nil {
		return err
	}
	maps := i.kube.CoreV1().ConfigMaps(render.Namespace)
	if live == nil {
		_, err = maps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace:   render.Namespace,
				Name:        render.AWSAuthName,
				Annotations: map[string]string{applied.Annotation: note},
			},
			Data: data,
		}, metav1.CreateOptions{FieldManager: FieldManager})
		return err
	}
	// The resource version that was read goes along, so a write in between is
	// a conflict.
	next := live.DeepCopy()
	next.Annotations = withAnnotation(live.Annotations, applied.Annotation, note)
	next.Data = data
	_, err = maps.Update(ctx, next, metav1.UpdateOptions{FieldManager: FieldManager})
	return err
}

func withAnnotation(m map[string]string, key, value string) map[string]string {
	n := maps.Clone(m)
	if n == nil {
		n = map[string]string{}
	}
	n[key] = value
	return n
}
