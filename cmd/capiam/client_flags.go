package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	apiversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/capiam/capiam/pkg/release"
)

// clientFlags choose a client program, for get client and install client.
type clientFlags struct {
	client, os, arch string
	kubeVersion      string
	kubeconfig       string
	context          string
	bundlesOverride  string
}

func (f *clientFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.client, "client", release.ClientAuthenticator, "the program: aws-iam-authenticator or capiam")
	flags.StringVar(&f.kubeVersion, "kube-version", "", "the cluster's Kubernetes version (default: ask the cluster of the kubeconfig)")
	flags.StringVar(&f.os, "os", runtime.GOOS, "the operating system: linux, darwin or windows")
	flags.StringVar(&f.arch, "arch", runtime.GOARCH, "the architecture: amd64 or arm64")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "the kubeconfig whose cluster is asked for its version (default: $KUBECONFIG or ~/.kube/config)")
	flags.StringVar(&f.context, "context", "", "the kubeconfig's context (default: its current one)")
	flags.StringVar(&f.bundlesOverride, "bundles-override", "", "a release manifest to use instead of the one that is built in")
	completeFlag(cmd, "client", release.Clients()...)
	completeFlag(cmd, "os", "linux", "darwin", "windows")
	completeFlag(cmd, "arch", "amd64", "arm64")
	_ = cmd.RegisterFlagCompletionFunc("kube-version", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		m, err := release.Load(f.bundlesOverride)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return m.KubeVersions(), cobra.ShellCompDirectiveNoFileComp
	})
}

// manifest loads the manifest and makes sure that the documents for the
// Kubernetes version are at hand. It returns the version it settled on.
func (f *clientFlags) manifest(ctx context.Context, progress io.Writer, d *release.Downloader) (*release.Manifest, string, error) {
	m, err := release.Load(f.bundlesOverride)
	if err != nil {
		return nil, "", err
	}
	version, err := f.version(ctx, progress, m)
	if err != nil {
		return nil, "", err
	}
	return m, version, m.Fetch(ctx, d, version)
}

// version is the one asked for, else the cluster's, else, where no cluster was
// named and none answers, the newest one.
func (f *clientFlags) version(ctx context.Context, progress io.Writer, m *release.Manifest) (string, error) {
	if f.kubeVersion != "" {
		return f.kubeVersion, nil
	}
	version, host, err := f.serverVersion(ctx)
	if err == nil {
		fmt.Fprintf(progress, "► the cluster at %s runs Kubernetes %s\n", host, version)
		return version, nil
	}
	if f.kubeconfig != "" || f.context != "" || ctx.Err() != nil {
		return "", fmt.Errorf("cluster's version: %w; name it with --kube-version", err)
	}
	versions := m.KubeVersions()
	newest := versions[len(versions)-1]
	reason := "no cluster answers"
	if clientcmd.IsEmptyConfig(err) {
		reason = "there is no kubeconfig"
	}
	fmt.Fprintf(progress, "► %s: taking Kubernetes %s, the newest; choose with --kube-version\n", reason, newest)
	return newest, nil
}

// serverVersion asks the cluster, without logging in: the client that logging
// in needs may be the very one that is to be installed.
func (f *clientFlags) serverVersion(ctx context.Context) (version, host string, err error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: f.context}).ClientConfig()
	if err != nil {
		return "", "", err
	}
	anonymous := rest.AnonymousClientConfig(config)
	anonymous.Timeout = 5 * time.Second
	client, err := discovery.NewDiscoveryClientForConfig(anonymous)
	if err != nil {
		return "", "", err
	}
	data, err := client.RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return "", "", err
	}
	var answer apiversion.Info
	if err := json.Unmarshal(data, &answer); err != nil {
		return "", "", fmt.Errorf("%s/version: %w", config.Host, err)
	}
	version, err = release.ParseKubeVersion(answer.GitVersion)
	return version, config.Host, err
}
