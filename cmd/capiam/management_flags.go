package main

import (
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"github.com/capiam/capiam/pkg/provider/clusterapi"
	"github.com/capiam/capiam/pkg/workflow"
)

// managementFlags say which management cluster is meant. A command that takes a
// cluster's name is about a cluster on this machine, unless one of them is given:
// a name alone never reaches anybody else's.
type managementFlags struct {
	kubeconfig, context, namespace, workload string
}

// register adds the flags of commands that take a spec, which says the rest.
func (f *managementFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "the management cluster's kubeconfig, for a cluster that Cluster API keeps (default: kubectl's)")
	cmd.Flags().StringVar(&f.context, "context", "", "context in that kubeconfig (default: its current one)")
	_ = cmd.MarkFlagFilename("kubeconfig")
	f.registerWorkload(cmd)
}

// registerWorkload adds the flag of commands that look into the cluster itself.
func (f *managementFlags) registerWorkload(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.workload, "workload-kubeconfig", "", "kubeconfig to reach that cluster by, where the one that Cluster API keeps does not (default: Cluster API's)")
	_ = cmd.MarkFlagFilename("workload-kubeconfig")
}

// registerNamed adds the flags of commands that take a cluster's name.
func (f *managementFlags) registerNamed(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "the management cluster's kubeconfig, if Cluster API keeps the cluster")
	cmd.Flags().StringVar(&f.context, "context", "", "the management cluster's context in that kubeconfig, or in kubectl's")
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "", "namespace of Cluster API's Cluster (default: default)")
	_ = cmd.MarkFlagFilename("kubeconfig")
}

// given tells whether a management cluster is meant.
func (f *managementFlags) given() bool {
	return f.kubeconfig != "" || f.context != "" || f.namespace != ""
}

func (f *managementFlags) access() clusterapi.Access {
	return clusterapi.Access{Kubeconfig: f.kubeconfig, Context: f.context}
}

// args are the flags as they were given, but for the namespace.
func (f *managementFlags) args() []string {
	var args []string
	for _, flag := range []struct{ name, value string }{{"--kubeconfig", f.kubeconfig}, {"--context", f.context}} {
		if flag.value != "" {
			args = append(args, flag.name, flag.value)
		}
	}
	return args
}

// named returns what a command on a named cluster works with.
func (f *managementFlags) named(s streams, name string) (*workflow.Manager, types.NamespacedName, error) {
	m, err := newManager(s, ".")
	if err != nil {
		return nil, types.NamespacedName{}, err
	}
	m.Management, m.WorkloadKubeconfig = f.access(), f.workload
	if !f.given() {
		return m, types.NamespacedName{Name: name}, nil
	}
	key, err := workflow.ParseManagedName(name, f.namespace)
	return m, key, err
}
