package render

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/manifests"
	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/authenticator/config"
)

// TestSnapshotOutlivesThePod: the last good mappings are on the node, where the
// server may write them, and the socket of one of two pods of a node is not.
func TestSnapshotOutlivesThePod(t *testing.T) {
	t.Parallel()
	out := render(t, testInput(testSpec("aws", "us-west-2", v1alpha1.BackendCRD, v1alpha1.BackendEKSConfigMap)))
	pod := find[appsv1.DaemonSet](t, out, "DaemonSet", ReleaseName).Spec.Template.Spec
	cfg := authenticatorConfig(t, out)
	if len(pod.InitContainers) != 1 {
		t.Fatalf("%d init containers", len(pod.InitContainers))
	}
	own, server := &pod.InitContainers[0], &pod.Containers[0]
	for _, c := range []*corev1.Container{own, server} {
		v, mount := volumeOf(&pod, c, cfg.Server.SnapshotDir)
		if v == nil || v.HostPath == nil || *v.HostPath.Type != corev1.HostPathDirectoryOrCreate {
			t.Errorf("%s is not on the node for %s", cfg.Server.SnapshotDir, c.Name)
		}
		if path.Dir(cfg.Server.SnapshotDir) != mount {
			t.Errorf("%s is given away with all that is in it: it is mounted at %s", cfg.Server.SnapshotDir, mount)
		}
	}
	want := []string{"own", fmt.Sprintf("--user=%d", *pod.SecurityContext.RunAsUser), fmt.Sprintf("--group=%d", *pod.SecurityContext.RunAsGroup), cfg.Server.SnapshotDir}
	if d := cmp.Diff(want, own.Args); d != "" || own.Image != server.Image {
		t.Errorf("init container: image %s, arguments -want +got\n%s", own.Image, d)
	}
	if v, _ := volumeOf(&pod, server, cfg.Server.HealthSocket); v == nil || v.EmptyDir == nil {
		t.Errorf("%s is not the pod's alone", cfg.Server.HealthSocket)
	}

	standIn := &corev1.Pod{}
	if err := yaml.UnmarshalStrict(out.StaticPod, standIn); err != nil {
		t.Fatal(err)
	}
	for _, v := range standIn.Spec.Volumes {
		if v.Name == mappingsVolume {
			t.Errorf("the static pod has %+v", v)
		}
	}
}

// TestNothingOfTheNode: there is no root, and nothing of the node, where there is
// nothing to keep, or it is not wanted.
func TestNothingOfTheNode(t *testing.T) {
	t.Parallel()
	upstream := testInput(testSpec("aws", "us-west-2", v1alpha1.BackendEKSConfigMap))
	upstream.Spec.IAM.Spec.Server.Implementation = v1alpha1.ImplementationAWSIAMAuthenticator
	usual := render(t, testInput(testSpec("aws", "us-west-2", v1alpha1.BackendEKSConfigMap)))
	usual.Values["snapshot"] = map[string]any{"hostPath": ""}
	chart, err := manifests.Chart()
	if err != nil {
		t.Fatal(err)
	}
	unwanted := &Output{}
	if unwanted.Objects, err = Chart(chart, usual.Values); err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string]*Output{
		"no aws-auth":           render(t, testInput(testSpec("aws", "us-west-2", v1alpha1.BackendCRD))),
		"aws-iam-authenticator": render(t, upstream),
		"not wanted":            unwanted,
	} {
		pod := find[appsv1.DaemonSet](t, out, "DaemonSet", ReleaseName).Spec.Template.Spec
		if len(pod.InitContainers) > 0 {
			t.Errorf("%s: there is an init container", name)
		}
		cfg := authenticatorConfig(t, out)
		if v, _ := volumeOf(&pod, &pod.Containers[0], cfg.Server.SnapshotDir); v == nil || v.EmptyDir == nil {
			t.Errorf("%s: %s is in %+v", name, cfg.Server.SnapshotDir, v)
		}
		if slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.HostPath != nil }) {
			t.Errorf("%s: a path of the node is mounted", name)
		}
	}
}

// volumeOf finds the volume that a container has at a path or around it, and where
// it is mounted.
func volumeOf(pod *corev1.PodSpec, c *corev1.Container, name string) (v *corev1.Volume, mount string) {
	for _, m := range c.VolumeMounts {
		at := path.Clean(m.MountPath)
		if m.ReadOnly || name != at && !strings.HasPrefix(name, at+"/") {
			continue
		}
		for i := range pod.Volumes {
			if pod.Volumes[i].Name == m.Name {
				return &pod.Volumes[i], at
			}
		}
	}
	return nil, ""
}

// authenticatorConfig is the configuration file that the chart renders.
func authenticatorConfig(t *testing.T, out *Output) *config.File {
	t.Helper()
	cm := find[corev1.ConfigMap](t, out, "ConfigMap", ReleaseName)
	f, err := config.Parse("config.yaml", []byte(cm.Data["config.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	return f
}
