package sbom

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestGenerate describes the test program itself, which has modules enough.
func TestGenerate(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Name: "capiam", Version: "v1.2.3", Created: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Programs: []Program{{"b", self}, {"a", self}},
	}
	data, err := Generate(o)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Generate(o)
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("a second document differs, %v", err)
	}
	var doc document
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	checkDocument(t, doc)
	for _, want := range []string{"a", "b", "stdlib"} {
		if !slices.ContainsFunc(doc.Packages, func(p spdxPackage) bool { return p.Name == want }) {
			t.Errorf("package %s is missing", want)
		}
	}
}

// checkDocument holds a document to the rules of SPDX 2.3 that tools trip over.
func checkDocument(t *testing.T, doc document) {
	t.Helper()
	if doc.SPDXVersion != "SPDX-2.3" || doc.DataLicense != "CC0-1.0" || doc.SPDXID != "SPDXRef-DOCUMENT" {
		t.Errorf("head %+v", doc)
	}
	if strings.Contains(doc.DocumentNamespace, "#") || !strings.HasPrefix(doc.DocumentNamespace, "https://") {
		t.Errorf("namespace %q", doc.DocumentNamespace)
	}
	if doc.CreationInfo.Created != "2026-03-04T05:06:07Z" || len(doc.CreationInfo.Creators) == 0 {
		t.Errorf("creation %+v", doc.CreationInfo)
	}
	form := regexp.MustCompile(`^SPDXRef-[A-Za-z0-9.-]+$`)
	known := map[string]bool{documentID: true}
	for _, p := range doc.Packages {
		if !form.MatchString(p.SPDXID) || known[p.SPDXID] {
			t.Errorf("identifier %q is malformed or there twice", p.SPDXID)
		}
		known[p.SPDXID] = true
		if p.Name == "" || p.DownloadLocation == "" || p.LicenseConcluded == "" || p.CopyrightText == "" {
			t.Errorf("package %+v is incomplete", p)
		}
	}
	described := 0
	for _, r := range doc.Relationships {
		if !known[r.SPDXElementID] || !known[r.RelatedSPDXElement] {
			t.Errorf("relationship %+v is to nothing", r)
		}
		if r.RelationshipType == "DESCRIBES" {
			described++
		}
	}
	if described != 2 {
		t.Errorf("%d programs described, want 2", described)
	}
}

func TestGenerateRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/x"
	if err := os.WriteFile(path, []byte("#!/bin/sh"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, path + "absent"} {
		if _, err := Generate(Options{Programs: []Program{{"x", path}}}); err == nil {
			t.Errorf("%s: accepted", path)
		}
	}
}

func TestIDsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range []string{"a/b-v1", "a_b-v1", "a-b-v1", "a.b-v1", "a+b-v1"} {
		got := id("Module", name)
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s have one identifier", name, other)
		}
		seen[got] = name
	}
}
