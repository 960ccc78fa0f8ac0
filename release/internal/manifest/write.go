package manifest

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing/fstest"

	"github.com/capiam/capiam/pkg/release"
)

// Check loads generated files as capiam will, every document of them.
func Check(files map[string][]byte) error {
	m, err := release.LoadFS(memory(files))
	if err != nil {
		return err
	}
	for _, v := range m.KubeVersions() {
		for _, client := range release.Clients() {
			if _, err := m.ClientAssets(client, v); err != nil {
				return fmt.Errorf("kubernetes %s: %w", v, err)
			}
		}
		if _, err := m.AuthenticatorImage(v); err != nil {
			return fmt.Errorf("kubernetes %s: %w", v, err)
		}
		if _, err := m.CapiamImage(v); err != nil {
			return fmt.Errorf("kubernetes %s: %w", v, err)
		}
	}
	return nil
}

// Write puts the files into a directory and removes Release documents of EKS
// Distro that are no longer wanted. It returns the paths it changed.
func Write(dir string, files map[string][]byte) ([]string, error) {
	stale, err := Stale(dir, files)
	if err != nil {
		return nil, err
	}
	for _, name := range stale {
		path := filepath.Join(dir, filepath.FromSlash(name))
		data, wanted := files[name]
		if !wanted {
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("manifest: %w", err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
	}
	return stale, nil
}

// Stale lists the files in a directory that differ from the generated ones,
// are missing or should not be there.
func Stale(dir string, files map[string][]byte) ([]string, error) {
	var stale []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		if err != nil || !bytes.Equal(data, files[name]) {
			stale = append(stale, name)
		}
	}
	there, err := filepath.Glob(filepath.Join(dir, release.EKSDDir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	for _, path := range there {
		name := release.EKSDDir + "/" + filepath.Base(path)
		if _, ok := files[name]; !ok {
			stale = append(stale, name)
		}
	}
	return stale, nil
}

// memory shows files as a file system.
func memory(files map[string][]byte) fs.FS {
	m := fstest.MapFS{}
	for name, data := range files {
		m[name] = &fstest.MapFile{Data: data}
	}
	return m
}
