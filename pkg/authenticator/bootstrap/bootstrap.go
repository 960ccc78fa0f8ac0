// Package bootstrap fetches what the authenticator on a control-plane node needs
// before that node can run a pod of the DaemonSet: the ConfigMaps and Secrets
// that such a pod mounts, and a token of its ServiceAccount.
//
// A joining machine's API server takes part in the cluster before there is a
// Node for it, and so before there can be a pod of a DaemonSet. A static pod can
// run there by then, but the kubelet gives static pods neither Secrets nor
// tokens.
package bootstrap

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/capiam/capiam/pkg/atomicfile"
)

const (
	// AdminKubeconfig is where kubeadm leaves the administrator's kubeconfig on
	// each control-plane node, before it starts the kubelet.
	AdminKubeconfig = "/etc/kubernetes/admin.conf"
	// KubeconfigFile is the kubeconfig's name in the output directory.
	KubeconfigFile = "kubeconfig.yaml"
	tokenFile      = "token"

	// StandInTime is how long a server may stand in with what was fetched. The
	// pod that it stands in for is there in seconds, or somebody has to look
	// after the node, and what was fetched grows old.
	StandInTime = time.Hour
	// TokenLife is how long the token is good for: all the while, mappings are
	// followed.
	TokenLife = 2 * StandInTime

	// readable is the mode of what is written: the directories belong to the
	// server's group, which the server reads them as.
	readable fs.FileMode = 0o440

	requestTimeout = 5 * time.Second
	retryAfter     = time.Second
)

var (
	configMaps      = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets         = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
)

// Mount is a ConfigMap or a Secret that becomes a directory, a file for each key.
type Mount struct {
	Name string
	Dir  string
	// Optional says that it need not exist.
	Optional bool
}

// ParseMount reads NAME=DIRECTORY or NAME=DIRECTORY,optional.
func ParseMount(text string) (Mount, error) {
	name, dir, _ := strings.Cut(text, "=")
	dir, optional := strings.CutSuffix(dir, ",optional")
	if name == "" || !filepath.IsAbs(dir) {
		return Mount{}, fmt.Errorf("%q: want NAME=/DIRECTORY or NAME=/DIRECTORY,optional", text)
	}
	return Mount{Name: name, Dir: dir, Optional: optional}, nil
}

// String is what ParseMount reads.
func (m Mount) String() string {
	if m.Optional {
		return m.Name + "=" + m.Dir + ",optional"
	}
	return m.Name + "=" + m.Dir
}

// Options say what is fetched, and where to.
type Options struct {
	// Kubeconfig is an administrator's, as kubeadm leaves it on the node.
	Kubeconfig string
	// Namespace is that of everything fetched.
	Namespace string
	// ServiceAccount is whose token is asked for.
	ServiceAccount string
	// Dir gets the token, and a kubeconfig that goes by it.
	Dir                 string
	ConfigMaps, Secrets []Mount
	Log                 *slog.Logger
}

// Fetch writes everything, the kubeconfig last. What is not there yet it waits
// for, until ctx ends: on the first node, that is the authenticator's
// installation.
func Fetch(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	said := ""
	for {
		err := fetch(ctx, o)
		if err == nil {
			o.Log.Info("fetched what the server needs", "dir", o.Dir)
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if text := err.Error(); text != said {
			o.Log.Warn("not yet", "reason", text)
			said = text
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter):
		}
	}
}

func fetch(ctx context.Context, o Options) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return fmt.Errorf("the administrator's kubeconfig: %w", err)
	}
	cfg.UserAgent, cfg.Timeout = "capiam-authenticator-bootstrap", requestTimeout
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("client of the API server at %s: %w", cfg.Host, err)
	}
	for _, m := range o.ConfigMaps {
		if err := mount(ctx, client.Resource(configMaps).Namespace(o.Namespace), m, false); err != nil {
			return fmt.Errorf("ConfigMap %s/%s: %w", o.Namespace, m.Name, err)
		}
	}
	for _, m := range o.Secrets {
		if err := mount(ctx, client.Resource(secrets).Namespace(o.Namespace), m, true); err != nil {
			return fmt.Errorf("Secret %s/%s: %w", o.Namespace, m.Name, err)
		}
	}
	token, err := requestToken(ctx, client, o)
	if err != nil {
		return fmt.Errorf("token of ServiceAccount %s/%s: %w", o.Namespace, o.ServiceAccount, err)
	}
	file := filepath.Join(o.Dir, tokenFile)
	if _, err := atomicfile.Write(file, []byte(token), readable); err != nil {
		return err
	}
	return writeKubeconfig(cfg, o, file)
}

// mount writes an object's keys to files.
func mount(ctx context.Context, client dynamic.ResourceInterface, m Mount, secret bool) error {
	u, err := client.Get(ctx, m.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && m.Optional {
		return nil
	}
	if err != nil {
		return err
	}
	data, err := dataOf(u, secret)
	if err != nil {
		return err
	}
	for key, value := range data {
		if key != filepath.Base(key) { // the API server allows no such key
			return fmt.Errorf("key %q is no file's name", key)
		}
		if _, err := atomicfile.Write(filepath.Join(m.Dir, key), value, readable); err != nil {
			return err
		}
	}
	return nil
}

// dataOf returns what a ConfigMap or a Secret holds.
func dataOf(u *unstructured.Unstructured, secret bool) (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, field := range []string{"data", "binaryData"} {
		values, _, err := unstructured.NestedStringMap(u.Object, field)
		if err != nil {
			return nil, err
		}
		for key, text := range values {
			if !secret && field == "data" {
				all[key] = []byte(text)
				continue
			}
			if all[key], err = base64.StdEncoding.DecodeString(text); err != nil {
				return nil, fmt.Errorf("key %q is not base64", key)
			}
		}
	}
	return all, nil
}

// requestToken asks for a token of the ServiceAccount, by which the server reads
// mappings with the rights that it has in a pod.
func requestToken(ctx context.Context, client dynamic.Interface, o Options) (string, error) {
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1",
		"kind":       "TokenRequest",
		"metadata":   map[string]any{"name": o.ServiceAccount, "namespace": o.Namespace},
		"spec":       map[string]any{"expirationSeconds": int64(TokenLife / time.Second)},
	}}
	made, err := client.Resource(serviceAccounts).Namespace(o.Namespace).Create(ctx, request, metav1.CreateOptions{}, "token")
	if err != nil {
		return "", err
	}
	token, _, err := unstructured.NestedString(made.Object, "status", "token")
	if err != nil || token == "" {
		return "", errors.New("the API server answered without one")
	}
	return token, nil
}

// writeKubeconfig writes a kubeconfig that reaches the same API server by the
// token.
func writeKubeconfig(cfg *rest.Config, o Options, token string) error {
	ca := cfg.CAData
	if len(ca) == 0 && cfg.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(cfg.CAFile); err != nil {
			return fmt.Errorf("the administrator's kubeconfig: %w", err)
		}
	}
	const name = "bootstrap"
	out := clientcmdapi.NewConfig()
	out.Clusters[name] = &clientcmdapi.Cluster{Server: cfg.Host, TLSServerName: cfg.ServerName, CertificateAuthorityData: ca}
	out.AuthInfos[name] = &clientcmdapi.AuthInfo{TokenFile: token}
	out.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	out.CurrentContext = name
	data, err := clientcmd.Write(*out)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig: %w", err)
	}
	_, err = atomicfile.Write(filepath.Join(o.Dir, KubeconfigFile), data, readable)
	return err
}
