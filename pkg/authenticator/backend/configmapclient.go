package backend

import (
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"
)

// ConfigMapClient lists and watches the ConfigMaps of the namespace that aws-auth
// is in.
type ConfigMapClient = gentype.ClientWithList[*corev1.ConfigMap, *corev1.ConfigMapList]

// NewConfigMapClient returns a client that speaks protobuf if the API server
// does: reading 1 MiB of JSON takes longer than all else of a reload. It knows no
// other kind, as client-go's clientset would, at a cost in memory.
func NewConfigMapClient(cfg *rest.Config, client *http.Client) (*ConfigMapClient, error) {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(corev1.SchemeGroupVersion, &corev1.ConfigMap{}, &corev1.ConfigMapList{})
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	c := rest.CopyConfig(cfg)
	c.GroupVersion = &corev1.SchemeGroupVersion
	c.APIPath = "/api"
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	api, err := rest.RESTClientForConfigAndClient(c, client)
	if err != nil {
		return nil, err
	}
	return gentype.NewClientWithList(
		"configmaps", api, runtime.NewParameterCodec(scheme), awsAuthNamespace,
		func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
		func() *corev1.ConfigMapList { return &corev1.ConfigMapList{} },
		gentype.PrefersProtobuf[*corev1.ConfigMap](),
	), nil
}

// withoutData returns what an event needs to know of a ConfigMap.
func withoutData(c *corev1.ConfigMap) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("v1")
	o.SetKind("ConfigMap")
	o.SetNamespace(c.Namespace)
	o.SetName(c.Name)
	o.SetUID(c.UID)
	o.SetResourceVersion(c.ResourceVersion)
	return o
}
