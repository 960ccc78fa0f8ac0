// Package sbom writes what programs are made of, as an SPDX 2.3 document: each
// program, and the Go modules that its build information says are in it.
//
// The Go toolchain writes that information into every program it links, so the
// list is of what is really inside and not of what go.mod might need.
package sbom

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Program is a file that the document describes.
type Program struct {
	// Name tells it from the others, "capiam-linux-amd64" say.
	Name string
	Path string
}

// Options describe the document.
type Options struct {
	// Name and Version are the product's.
	Name, Version string
	Created       time.Time
	Programs      []Program
}

// document and its parts are SPDX 2.3's JSON form.
type document struct {
	SPDXVersion       string         `json:"spdxVersion"`
	DataLicense       string         `json:"dataLicense"`
	SPDXID            string         `json:"SPDXID"`
	Name              string         `json:"name"`
	DocumentNamespace string         `json:"documentNamespace"`
	CreationInfo      creationInfo   `json:"creationInfo"`
	Packages          []spdxPackage  `json:"packages"`
	Relationships     []relationship `json:"relationships"`
}

type creationInfo struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	SPDXID                string        `json:"SPDXID"`
	Name                  string        `json:"name"`
	VersionInfo           string        `json:"versionInfo,omitempty"`
	PackageFileName       string        `json:"packageFileName,omitempty"`
	DownloadLocation      string        `json:"downloadLocation"`
	FilesAnalyzed         bool          `json:"filesAnalyzed"`
	LicenseConcluded      string        `json:"licenseConcluded"`
	LicenseDeclared       string        `json:"licenseDeclared"`
	CopyrightText         string        `json:"copyrightText"`
	PrimaryPackagePurpose string        `json:"primaryPackagePurpose"`
	SourceInfo            string        `json:"sourceInfo,omitempty"`
	Checksums             []checksum    `json:"checksums,omitempty"`
	ExternalRefs          []externalRef `json:"externalRefs,omitempty"`
}

type checksum struct {
	Algorithm     string `json:"algorithm"`
	ChecksumValue string `json:"checksumValue"`
}

type externalRef struct {
	ReferenceCategory string `json:"referenceCategory"`
	ReferenceType     string `json:"referenceType"`
	ReferenceLocator  string `json:"referenceLocator"`
}

type relationship struct {
	SPDXElementID      string `json:"spdxElementId"`
	RelationshipType   string `json:"relationshipType"`
	RelatedSPDXElement string `json:"relatedSpdxElement"`
}

const (
	documentID  = "SPDXRef-DOCUMENT"
	noAssertion = "NOASSERTION"
)

// Generate makes the document. It depends on nothing but its arguments.
func Generate(o Options) ([]byte, error) {
	doc := document{
		SPDXVersion: "SPDX-2.3",
		DataLicense: "CC0-1.0",
		SPDXID:      documentID,
		Name:        o.Name + "-" + o.Version,
		CreationInfo: creationInfo{
			Created:  o.Created.UTC().Format("2006-01-02T15:04:05Z"),
			Creators: []string{"Tool: " + o.Name + "-release-" + o.Version},
		},
	}
	modules := map[string]spdxPackage{}
	for _, p := range slices.SortedFunc(slices.Values(o.Programs), func(a, b Program) int { return cmp.Compare(a.Name, b.Name) }) {
		if err := doc.addProgram(p, o.Version, modules); err != nil {
			return nil, err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(modules)) {
		doc.Packages = append(doc.Packages, modules[id])
	}
	// A document's namespace has to be its own: it is made of the content.
	content, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("sbom: %w", err)
	}
	sum := sha256.Sum256(content)
	doc.DocumentNamespace = "https://capiam.dev/spdx/" + doc.Name + "-" + hex.EncodeToString(sum[:16])
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("sbom: %w", err)
	}
	return append(data, '\n'), nil
}

func (d *document) addProgram(p Program, version string, modules map[string]spdxPackage) error {
	info, err := buildinfo.ReadFile(p.Path)
	if err != nil {
		return fmt.Errorf("sbom: %w", err)
	}
	data, err := os.ReadFile(p.Path)
	if err != nil {
		return fmt.Errorf("sbom: %w", err)
	}
	sum := sha256.Sum256(data)
	program := spdxPackage{
		SPDXID: id("Program", p.Name), Name: p.Name, VersionInfo: version,
		PackageFileName: filepath.Base(p.Path), DownloadLocation: noAssertion,
		LicenseConcluded: "Apache-2.0", LicenseDeclared: "Apache-2.0", CopyrightText: noAssertion,
		PrimaryPackagePurpose: "APPLICATION",
		SourceInfo:            "built from " + info.Path + " with " + info.GoVersion,
		Checksums:             []checksum{{"SHA256", hex.EncodeToString(sum[:])}},
	}
	d.Packages = append(d.Packages, program)
	d.Relationships = append(d.Relationships, relationship{documentID, "DESCRIBES", program.SPDXID})
	// The standard library counts as a module, as it does for Go's own
	// vulnerability database.
	contained := []*debug.Module{{Path: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}}
	for _, m := range append(contained, info.Deps...) {
		if m.Replace != nil {
			m = m.Replace
		}
		pkg := modulePackage(m)
		modules[pkg.SPDXID] = pkg
		d.Relationships = append(d.Relationships, relationship{program.SPDXID, "DEPENDS_ON", pkg.SPDXID})
	}
	return nil
}

func modulePackage(m *debug.Module) spdxPackage {
	pkg := spdxPackage{
		SPDXID: id("Module", m.Path+"-"+m.Version), Name: m.Path, VersionInfo: m.Version,
		DownloadLocation: noAssertion, LicenseConcluded: noAssertion, LicenseDeclared: noAssertion,
		CopyrightText: noAssertion, PrimaryPackagePurpose: "LIBRARY",
		ExternalRefs: []externalRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + strings.ReplaceAll(m.Path, " ", "") + "@" + strings.ReplaceAll(m.Version, "+", "%2B")}},
	}
	if m.Sum != "" {
		// A hash of a module's files; SPDX has no checksum of that kind.
		pkg.SourceInfo = "go.sum " + m.Sum
	}
	return pkg
}

var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// id makes an SPDX identifier. Two names that differ only in what such an
// identifier cannot hold are told apart by a checksum.
func id(kind, name string) string {
	clean := notInID.ReplaceAllString(name, "-")
	if clean != name {
		sum := sha256.Sum256([]byte(name))
		clean += "-" + hex.EncodeToString(sum[:4])
	}
	return "SPDXRef-" + kind + "-" + clean
}
