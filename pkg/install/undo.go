package install

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capiam/capiam/pkg/applied"
	"github.com/capiam/capiam/pkg/mapping"
	"github.com/capiam/capiam/pkg/render"
)

// AWSAuthSnapshot is the ConfigMap aws-auth as it was at a moment.
type AWSAuthSnapshot struct {
	// configMap is nil if there was none.
	configMap *corev1.ConfigMap
}

// SnapshotAWSAuth remembers aws-auth, for RestoreAWSAuth.
func (i *Installer) SnapshotAWSAuth(ctx context.Context) (*AWSAuthSnapshot, error) {
	live, err := i.kube.CoreV1().ConfigMaps(render.Namespace).Get(ctx, render.AWSAuthName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &AWSAuthSnapshot{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", awsAuthName, err)
	}
	return &AWSAuthSnapshot{configMap: live}, nil
}

// RestoreAWSAuth takes a change of aws-auth back that ApplyAWSAuth has just made,
// given how it was before and after. If nobody has written to it since, it is
// put back letter by letter, note included; a section that it did not have then
// holds an empty list, so that nobody stays mapped by it, and so do all if there
// was no aws-auth: a server takes a deleted one for a mistake. Otherwise capiam's
// entries are brought back to what they were, and what others wrote stays.
func (i *Installer) RestoreAWSAuth(ctx context.Context, before, after *AWSAuthSnapshot) error {
	s := before
	maps := i.kube.CoreV1().ConfigMaps(render.Namespace)
	fail := func(err error) error { return fmt.Errorf("restore %s as %s: %w", awsAuthName, FieldManager, err) }
	live, err := maps.Get(ctx, render.AWSAuthName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && s.configMap == nil:
		return nil
	case err == nil && (after.configMap == nil || live.ResourceVersion != after.configMap.ResourceVersion):
		return i.reapply(ctx, before)
	case apierrors.IsNotFound(err):
		fresh := s.configMap.DeepCopy()
		fresh.ResourceVersion, fresh.UID = "", ""
		if _, err := maps.Create(ctx, fresh, metav1.CreateOptions{FieldManager: FieldManager}); err != nil {
			return fail(err)
		}
		return nil
	case err != nil:
		return fail(err)
	}
	// A section that was not there before must be seen to be meant, and so must
	// all of them if the object was not.
	was := s.configMap
	if was == nil {
		was = &corev1.ConfigMap{}
	}
	live.Data = mapping.Replace(live.Data, was.Data)
	if note, ok := was.Annotations[applied.Annotation]; ok {
		live.Annotations = withAnnotation(live.Annotations, applied.Annotation, note)
	} else {
		delete(live.Annotations, applied.Annotation)
	}
	if _, err := maps.Update(ctx, live, metav1.UpdateOptions{FieldManager: FieldManager}); err != nil {
		return fail(err)
	}
	return nil
}

// reapply brings capiam's entries back to what a snapshot's note says.
func (i *Installer) reapply(ctx context.Context, s *AWSAuthSnapshot) error {
	var mappings mapping.Mappings
	if s.configMap != nil {
		table, _ := mapping.Parse(s.configMap.Data)
		var err error
		mappings, err = applied.Decode(s.configMap.Annotations[applied.Annotation], table.Mappings())
		if err != nil {
			return fmt.Errorf("restore %s: %w", awsAuthName, err)
		}
	}
	_, _, err := i.ApplyAWSAuth(ctx, mappings, nil)
	return err
}

// UndoIdentityMappings takes a plan back that EnsureIdentityMappings carried
// out, wholly or in part. It goes on after an error, so that as much as
// possible is as it was.
func (i *Installer) UndoIdentityMappings(ctx context.Context, p *IdentityPlan) error {
	client := i.dynamic.Resource(identityMappings)
	var problems []error
	for _, u := range p.Create {
		if err := client.Delete(ctx, u.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			problems = append(problems, fmt.Errorf("delete %s again: %w", describe(u), err))
		}
	}
	for _, change := range p.Update {
		live, err := client.Get(ctx, change.Before.GetName(), metav1.GetOptions{})
		if err == nil {
			live.Object["spec"] = change.Before.Object["spec"]
			_, err = client.Update(ctx, live, metav1.UpdateOptions{FieldManager: FieldManager})
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("restore %s: %w", describe(change.Before), err))
		}
	}
	for _, u := range p.Delete {
		fresh := u.DeepCopy()
		fresh.SetResourceVersion("")
		fresh.SetUID("")
		if _, err := client.Create(ctx, fresh, metav1.CreateOptions{FieldManager: FieldManager}); err != nil && !apierrors.IsAlreadyExists(err) {
			problems = append(problems, fmt.Errorf("restore %s: %w", describe(u), err))
		}
	}
	return errors.Join(problems...)
}

// Changed returns the entries that the plan makes or makes different.
func (p *IdentityPlan) Changed() []mapping.Entry {
	var entries []mapping.Entry
	for _, u := range p.Create {
		entries = append(entries, entry(u))
	}
	for _, u := range p.Update {
		entries = append(entries, entry(u.After))
	}
	return entries
}

// Removed returns the entries that the plan takes away.
func (p *IdentityPlan) Removed() []mapping.Entry {
	var entries []mapping.Entry
	for _, u := range p.Delete {
		entries = append(entries, entry(u))
	}
	return entries
}
