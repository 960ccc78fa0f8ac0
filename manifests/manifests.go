// Package manifests embeds the Kubernetes API objects that capiam installs: the
// authenticator's Helm chart and the CustomResourceDefinitions that go
// with it.
//
// What is no API object is in package templates. Package render fills both in.
package manifests

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// A chart has files that start with "_", which embed leaves out unless told.
//
//go:embed all:charts crds
var files embed.FS

// chartDir is the authenticator's chart in the embedded files.
const chartDir = "charts/aws-iam-authenticator"

// Chart returns the authenticator's Helm chart. Each call returns a copy of its
// own, as Helm changes the charts it is given.
func Chart() (*chart.Chart, error) {
	var buffered []*loader.BufferedFile
	err := fs.WalkDir(files, chartDir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		buffered = append(buffered, &loader.BufferedFile{Name: strings.TrimPrefix(name, chartDir+"/"), Data: data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read embedded chart: %w", err)
	}
	c, err := loader.LoadFiles(buffered)
	if err != nil {
		return nil, fmt.Errorf("load embedded chart: %w", err)
	}
	return c, nil
}

// Names of the CustomResourceDefinitions here.
const (
	IdentityMappingCRD = "iamidentitymappings.iamauthenticator.k8s.aws"
	BundlesCRD         = "bundles.anywhere.eks.amazonaws.com"
)

// CRD returns a CustomResourceDefinition by its name.
func CRD(name string) (*unstructured.Unstructured, error) {
	data, err := files.ReadFile("crds/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("read embedded CRD: %w", err)
	}
	u := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict(data, &u.Object); err != nil {
		return nil, fmt.Errorf("embedded CRD %s: %w", name, err)
	}
	return u, nil
}
