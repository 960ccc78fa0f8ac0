package main

import (
	"testing"

	"sigs.k8s.io/cluster-api/test/infrastructure/container"

	"github.com/capiam/capiam/test/e2e/machines"
)

func TestMatches(t *testing.T) {
	machine := &machines.Machine{Name: "one-control-plane-x", Labels: map[string]string{"cluster": "one", "role": "control-plane"}}
	for _, tt := range []struct {
		name  string
		build func(container.FilterBuilder)
		want  bool
	}{
		{"nothing asked", func(container.FilterBuilder) {}, true},
		{"label with its value", func(f container.FilterBuilder) { f.AddKeyNameValue("label", "cluster", "one") }, true},
		{"label with another value", func(f container.FilterBuilder) { f.AddKeyNameValue("label", "cluster", "two") }, false},
		{"label of any value", func(f container.FilterBuilder) { f.AddKeyValue("label", "role") }, true},
		{"no such label", func(f container.FilterBuilder) { f.AddKeyValue("label", "zone") }, false},
		{"whole name", func(f container.FilterBuilder) { f.AddKeyValue("name", "^one-control-plane-x$") }, true},
		{"part of a name", func(f container.FilterBuilder) { f.AddKeyValue("name", "^one-control-plane$") }, false},
		{"all must match", func(f container.FilterBuilder) {
			f.AddKeyNameValue("label", "cluster", "one")
			f.AddKeyNameValue("label", "role", "worker")
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			filters := container.FilterBuilder{}
			tt.build(filters)
			got, err := matches(machine, filters)
			if err != nil || got != tt.want {
				t.Errorf("%v, %v, want %v", got, err, tt.want)
			}
		})
	}
	filters := container.FilterBuilder{}
	filters.AddKeyValue("volume", "x")
	if _, err := matches(machine, filters); err == nil {
		t.Error("an unknown filter was passed over")
	}
}
