package spec

import (
	"path/filepath"
	"testing"
)

// TestExamples shows that every example is a spec without a warning, and that
// the one the README starts with lets each identity in with both kinds of
// token.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no examples")
	}
	for _, file := range files {
		s, err := Load(file, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, w := range s.Warnings {
			t.Error(w)
		}
		if filepath.Base(file) != "local.yaml" {
			continue
		}
		if s.Name != "local" {
			t.Errorf("%s: the cluster is %s, want local", file, s.Name)
		}
		if !s.IAM.Spec.TakesPresigned() || !s.IAM.Spec.TakesJWT() {
			t.Errorf("%s: tokens are %v, want both kinds", file, s.IAM.Spec.Tokens)
		}
		if n := len(s.Identities()); n < 4 {
			t.Errorf("%s: %d identities, want 4 or more", file, n)
		}
	}
}
