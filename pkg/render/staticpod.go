package render

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/capiam/capiam/pkg/api/v1alpha1"
	"github.com/capiam/capiam/pkg/authenticator/bootstrap"
	"github.com/capiam/capiam/pkg/authenticator/config"
)

// StaticPodName is the static pod's name, to which the kubelet adds the node's.
const StaticPodName = ReleaseName + "-bootstrap"

// mappingsVolume is the chart's volume for what is kept on the node, if anything is.
const mappingsVolume = "mappings"

// bootstrapDir is where the static pod's containers hand credentials over.
const bootstrapDir = "/run/aws-iam-authenticator"

// sharesPort tells whether the authenticator can hand its port over to another:
// aws-iam-authenticator cannot, and on a local cluster there is but one.
func sharesPort(in Input) bool {
	return in.Spec.Local == nil && in.Spec.IAM.Spec.Server.Implementation != v1alpha1.ImplementationAWSIAMAuthenticator
}

// staticPod is the DaemonSet's pod as one that a control-plane node runs before
// the API server beside it is part of the cluster: between then and the start of
// the DaemonSet's own pod, that API server could let nobody in. Once the pod is
// ready, this one serves no more.
//
// What the DaemonSet's pod mounts, an init container fetches by kubeadm's
// kubeconfig for administrators, as kube-vip's static pod does: the kubelet gives
// static pods neither ConfigMaps nor Secrets nor tokens.
func staticPod(release []*unstructured.Unstructured, cfg *config.File) ([]byte, error) {
	ds, err := daemonSet(release)
	if err != nil {
		return nil, err
	}
	spec := ds.Spec.Template.Spec
	if len(spec.Containers) != 1 {
		return nil, errors.New("static pod: the DaemonSet's pod has not one container")
	}
	server := &spec.Containers[0]
	// It keeps no mappings, and needs nothing of the node for them.
	spec.Volumes = slices.DeleteFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == mappingsVolume })
	server.VolumeMounts = slices.DeleteFunc(server.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == mappingsVolume })
	for _, e := range server.Env {
		if e.ValueFrom != nil && e.ValueFrom.FieldRef == nil {
			return nil, fmt.Errorf("static pod: the environment's %s comes from an object, which it cannot have", e.Name)
		}
	}
	args := []string{"bootstrap", "--namespace=" + ds.Namespace, "--service-account=" + spec.ServiceAccountName, "--dir=" + bootstrapDir}
	fetched := []corev1.VolumeMount{{Name: "bootstrap", MountPath: bootstrapDir}}
	for i := range spec.Volumes {
		v := &spec.Volumes[i]
		flag, m, err := fetchedBy(v)
		if err != nil {
			return nil, err
		}
		if flag == "" {
			continue
		}
		for _, at := range server.VolumeMounts {
			if at.Name == v.Name {
				m.Dir = path.Clean(at.MountPath)
			}
		}
		args = append(args, flag+"="+m.String())
		fetched = append(fetched, corev1.VolumeMount{Name: v.Name, MountPath: m.Dir})
	}
	spec.Volumes = append(spec.Volumes, memory("bootstrap"), corev1.Volume{Name: "admin", VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: bootstrap.AdminKubeconfig, Type: new(corev1.HostPathFile)},
	}})
	admin := corev1.VolumeMount{Name: "admin", MountPath: bootstrap.AdminKubeconfig, ReadOnly: true}

	fetch := corev1.Container{
		Name: "bootstrap", Image: server.Image, ImagePullPolicy: server.ImagePullPolicy, Args: args,
		VolumeMounts: append(fetched, admin), Resources: server.Resources, SecurityContext: server.SecurityContext.DeepCopy(),
	}
	// The file is root's. Root without its rights still reads what is its own.
	fetch.SecurityContext.RunAsUser, fetch.SecurityContext.RunAsNonRoot = new(int64(0)), new(false)
	spec.InitContainers = []corev1.Container{fetch}

	health := net.JoinHostPort(cmp.Or(cfg.Server.HealthAddress, config.Defaults().HealthAddress),
		strconv.Itoa(cmp.Or(cfg.Server.HealthPort, config.Defaults().HealthPort)))
	server.Args = append(slices.Clone(server.Args), "--kubeconfig="+path.Join(bootstrapDir, bootstrap.KubeconfigFile), "--until-ready=http://"+health+"/readyz")
	server.VolumeMounts = append(slices.Clone(server.VolumeMounts), corev1.VolumeMount{Name: "bootstrap", MountPath: bootstrapDir, ReadOnly: true})
	// Health is the other pod's.
	server.StartupProbe, server.LivenessProbe, server.ReadinessProbe = nil, nil, nil

	// These are for the scheduler and for controllers, or need the API.
	spec.ServiceAccountName, spec.DeprecatedServiceAccount = "", ""
	spec.NodeSelector, spec.Tolerations, spec.ImagePullSecrets = nil, nil, nil
	pod := corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: StaticPodName, Namespace: ds.Namespace,
			// Not the DaemonSet's own, which would take the pod for one of its.
			Labels:      map[string]string{"k8s-app": StaticPodName, "app.kubernetes.io/name": StaticPodName, "tier": "control-plane"},
			Annotations: maps.Clone(ds.Spec.Template.Annotations),
		},
		Spec: spec,
	}
	delete(pod.Annotations, "checksum/config") // it is fetched
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&pod)
	if err != nil {
		return nil, fmt.Errorf("static pod: %w", err)
	}
	delete(object, "status")
	unstructured.RemoveNestedField(object, "metadata", "creationTimestamp")
	return yaml.Marshal(object)
}

// fetchedBy makes a volume that the API server has the contents of an empty one,
// and returns the flag and what it says of where they are. Other volumes stay.
func fetchedBy(v *corev1.Volume) (flag string, m bootstrap.Mount, err error) {
	var items int
	switch {
	case v.ConfigMap != nil:
		flag, items = "--configmap", len(v.ConfigMap.Items)
		m = bootstrap.Mount{Name: v.ConfigMap.Name, Optional: v.ConfigMap.Optional != nil && *v.ConfigMap.Optional}
	case v.Secret != nil:
		flag, items = "--secret", len(v.Secret.Items)
		m = bootstrap.Mount{Name: v.Secret.SecretName, Optional: v.Secret.Optional != nil && *v.Secret.Optional}
	case v.EmptyDir == nil && v.HostPath == nil:
		return "", m, fmt.Errorf("static pod: volume %s is of a kind that it cannot have", v.Name)
	default:
		return "", m, nil
	}
	if items > 0 {
		return "", m, fmt.Errorf("static pod: volume %s names keys, and it can only have all of them", v.Name)
	}
	*v = memory(v.Name)
	return flag, m, nil
}

// memory is a volume for credentials.
func memory(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}}
}

func daemonSet(objects []*unstructured.Unstructured) (*appsv1.DaemonSet, error) {
	for _, u := range objects {
		if u.GetKind() != "DaemonSet" {
			continue
		}
		ds := &appsv1.DaemonSet{}
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, ds)
		return ds, err
	}
	return nil, errors.New("the chart renders no DaemonSet")
}
