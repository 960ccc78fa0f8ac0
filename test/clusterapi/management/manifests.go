package management

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	kindCRD        = "CustomResourceDefinition"
	kindNamespace  = "Namespace"
	kindValidating = "ValidatingWebhookConfiguration"
	kindMutating   = "MutatingWebhookConfiguration"
)

// fieldManager owns what is applied here.
const fieldManager = "capi-management"

// objects are a provider's manifests.
type objects struct {
	namespaces, crds, webhooks, others []*unstructured.Unstructured
}

func (o *objects) add(more objects) {
	o.namespaces = append(o.namespaces, more.namespaces...)
	o.crds = append(o.crds, more.crds...)
	o.webhooks = append(o.webhooks, more.webhooks...)
	o.others = append(o.others, more.others...)
}

// readObjects reads a file of manifests.
func readObjects(path string) (objects, error) {
	var o objects
	data, err := os.ReadFile(path)
	if err != nil {
		return o, err
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return o, nil
		}
		if err != nil {
			return o, fmt.Errorf("read %s: %w", path, err)
		}
		switch object.GetKind() {
		case "":
		case kindNamespace:
			o.namespaces = append(o.namespaces, object)
		case kindCRD:
			o.crds = append(o.crds, object)
		case kindValidating, kindMutating:
			o.webhooks = append(o.webhooks, object)
		default:
			o.others = append(o.others, object)
		}
	}
}

// point has every webhook called at a loopback port instead of a Service.
func (o *objects) point(port int, caPEM []byte) error {
	for _, object := range o.webhooks {
		webhooks, _, err := unstructured.NestedSlice(object.Object, "webhooks")
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		for _, webhook := range webhooks {
			config, ok := webhook.(map[string]any)["clientConfig"].(map[string]any)
			if !ok {
				return fmt.Errorf("%s %s: no clientConfig", object.GetKind(), object.GetName())
			}
			if err := pointClient(config, port, caPEM); err != nil {
				return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
			}
		}
		if err := unstructured.SetNestedSlice(object.Object, webhooks, "webhooks"); err != nil {
			return err
		}
	}
	for _, object := range o.crds {
		config, found, err := unstructured.NestedMap(object.Object, "spec", "conversion", "webhook", "clientConfig")
		if err == nil && found {
			err = pointClient(config, port, caPEM)
		}
		if err == nil && found {
			err = unstructured.SetNestedMap(object.Object, config, "spec", "conversion", "webhook", "clientConfig")
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

func pointClient(config map[string]any, port int, caPEM []byte) error {
	path, found, err := unstructured.NestedString(config, "service", "path")
	if err != nil || !found {
		return errors.Join(errors.New("clientConfig has no service.path"), err)
	}
	delete(config, "service")
	config["url"] = "https://127.0.0.1:" + strconv.Itoa(port) + path
	config["caBundle"] = base64.StdEncoding.EncodeToString(caPEM)
	return nil
}

// unattended drops all webhooks, as nobody would answer them.
func (o *objects) unattended() {
	o.webhooks = nil
	for _, object := range o.crds {
		unstructured.RemoveNestedField(object.Object, "spec", "conversion")
	}
}

// apply applies objects side by side.
func apply(ctx context.Context, c client.Client, objects ...*unstructured.Unstructured) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, object := range objects {
		group.Go(func() error {
			what := object.GetKind() + " " + object.GetName()
			err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(fieldManager), client.ForceOwnership)
			if err != nil {
				return fmt.Errorf("apply %s: %w", what, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// established waits until the API server serves every one of the CRDs.
func established(ctx context.Context, c client.Client, crds []*unstructured.Unstructured, alive func() error) error {
	waiting := slices.Clone(crds)
	return poll(ctx, alive, func(ctx context.Context) error {
		for len(waiting) > 0 {
			crd := &unstructured.Unstructured{}
			crd.SetGroupVersionKind(waiting[0].GroupVersionKind())
			if err := c.Get(ctx, client.ObjectKeyFromObject(waiting[0]), crd); err != nil {
				return err
			}
			if !conditionTrue(crd, "Established") {
				return fmt.Errorf("CRD %s is not established", crd.GetName())
			}
			waiting = waiting[1:]
		}
		return nil
	})
}

func conditionTrue(object *unstructured.Unstructured, kind string) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		condition, ok := c.(map[string]any)
		return ok && condition["type"] == kind && condition["status"] == "True"
	})
}
