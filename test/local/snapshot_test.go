package local_test

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
)

// snapshot is everything that a command which changes nothing leaves alone: by
// name, what tells a thing that was written from one that was not.
type snapshot map[string]string

// watched are the kinds of which capiam has objects.
var watched = []schema.GroupVersionResource{
	{Version: "v1", Resource: "configmaps"},
	{Version: "v1", Resource: "secrets"},
	{Version: "v1", Resource: "serviceaccounts"},
	{Group: "apps", Version: "v1", Resource: "daemonsets"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
	{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	{Group: "iamauthenticator.k8s.aws", Version: "v1alpha1", Resource: "iamidentitymappings"},
}

// objects are the resource versions of the cluster's objects.
func (c *cluster) objects() snapshot {
	c.m.t.Helper()
	client, err := metadata.NewForConfig(c.config())
	if err != nil {
		c.m.t.Fatal(err)
	}
	s := snapshot{}
	for _, kind := range watched {
		list, err := client.Resource(kind).List(c.m.t.Context(), metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			continue // the kind is not there
		}
		if err != nil {
			c.m.t.Fatal(err)
		}
		for _, o := range list.Items {
			s[fmt.Sprintf("%s %s/%s", kind.Resource, o.Namespace, o.Name)] = fmt.Sprintf("%s at %s", o.UID, o.ResourceVersion)
		}
	}
	return s
}

// files are the modes, sizes and times of the last change of the cluster's
// files: those of its users, and its own but for logs, locks, and what its
// programs keep for themselves.
func (c *cluster) files() snapshot {
	c.m.t.Helper()
	s := snapshot{}
	for _, root := range []string{c.layout.Dir, c.dir} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			switch {
			case d.IsDir() && (path == c.layout.Etcd() || path == filepath.Dir(c.layout.Log(""))):
				return filepath.SkipDir
			case d.IsDir(), strings.HasSuffix(path, ".lock"), strings.HasSuffix(path, ".sock"), strings.Contains(path, ".last-good.json"):
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			s[path] = fmt.Sprintf("%s %d bytes, %s", info.Mode(), info.Size(), info.ModTime().Format(time.RFC3339Nano))
			return nil
		})
		if err != nil {
			c.m.t.Fatal(err)
		}
	}
	return s
}

// all is objects and files.
func (c *cluster) all() snapshot {
	c.m.t.Helper()
	s := c.objects()
	maps.Copy(s, c.files())
	return s
}

// wantSame compares two snapshots.
func wantSame(t *testing.T, what string, before, after snapshot) {
	t.Helper()
	names := slices.Sorted(maps.Keys(before))
	for name := range after {
		if _, ok := before[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if before[name] != after[name] {
			t.Errorf("%s changed %s: it was %q and is %q", what, name, before[name], after[name])
		}
	}
}

// wantPrivate checks that nobody else can read the cluster's files. Only the
// CA certificate that clients trust may be read by all.
func (c *cluster) wantPrivate(t *testing.T) {
	t.Helper()
	for path, is := range c.files() {
		if !strings.HasPrefix(is, "-rw------- ") && path != c.layout.STSCA() {
			t.Errorf("%s: %s, want mode 0600", path, is)
		}
	}
}
