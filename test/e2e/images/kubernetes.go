package images

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

func architecture() string { return runtime.GOARCH }

// Kubernetes makes the images that kubeadm of this directory asks for, out of
// the programs that are there too, and returns the archive and the reference of
// the pause image. An archive newer than all programs is left as it is.
func Kubernetes(ctx context.Context, programs string) (archive, pause string, err error) {
	version, err := kubeadm(ctx, programs, "version", "--output=short")
	if err != nil {
		return "", "", err
	}
	references, err := kubeadm(ctx, programs, "config", "images", "list", "--kubernetes-version="+version)
	if err != nil {
		return "", "", err
	}
	var all []Image
	newest := []string{filepath.Join(programs, "kubeadm")}
	for _, reference := range strings.Fields(references) {
		image, err := imageOf(ctx, programs, reference)
		if err != nil {
			return "", "", err
		}
		if strings.Contains(reference, "/pause:") {
			pause = reference
		}
		all = append(all, image)
		for _, source := range image.Files {
			newest = append(newest, source)
		}
	}
	archive = filepath.Join(programs, "kubernetes-"+version+".tar")
	if current(archive, newest) {
		return archive, pause, nil
	}
	return archive, pause, Write(archive, all)
}

// current tells whether the archive is newer than all it is made of.
func current(archive string, sources []string) bool {
	made, err := os.Stat(archive)
	if err != nil {
		return false
	}
	for _, source := range sources {
		info, err := os.Stat(source)
		if err != nil || info.ModTime().After(made.ModTime()) {
			return false
		}
	}
	return true
}

// kubeadm asks kubeadm for something.
func kubeadm(ctx context.Context, programs string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "kubeadm"), args...)
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("kubeadm %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

func imageOf(ctx context.Context, programs, reference string) (Image, error) {
	_, base, _ := strings.Cut(reference[strings.LastIndex(reference, "/"):], "/")
	component, _, _ := strings.Cut(base, ":")
	image := Image{Reference: reference, Files: map[string]string{}}
	program := filepath.Join(programs, component)
	switch component {
	case "pause":
		image.Files["/pause"] = program
		image.Entrypoint = []string{"/pause"}
	case "coredns":
		image.Files["/coredns"] = program
		image.Entrypoint = []string{"/coredns"}
	case "kube-proxy":
		image.Files["/usr/local/bin/kube-proxy"] = program
		return withIptables(ctx, image)
	default:
		image.Files["/usr/local/bin/"+component] = program
	}
	return image, nil
}

// withIptables adds what kube-proxy calls.
func withIptables(ctx context.Context, image Image) (Image, error) {
	const nft = "/usr/sbin/xtables-nft-multi"
	modules, err := filepath.Glob("/usr/lib/*/xtables/*.so")
	if err != nil {
		return Image{}, err
	}
	libraries, err := Libraries(ctx, append(modules, nft, "/usr/sbin/conntrack")...)
	if err != nil {
		return Image{}, err
	}
	maps.Copy(image.Files, libraries)
	for _, module := range modules {
		image.Files[module] = module
	}
	image.Files[nft] = nft
	image.Files["/usr/sbin/conntrack"] = "/usr/sbin/conntrack"
	image.Links = map[string]string{}
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			image.Links["/usr/sbin/"+name+suffix] = nft
		}
	}
	return image, nil
}
