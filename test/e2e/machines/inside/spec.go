// Package inside is what runs within a machine: the first process of its
// namespaces, which makes its file systems, and the supervisor in systemd's
// place, which keeps containerd and kubelet running. Package machines starts
// it; cmd/e2e-node is its program.
package inside

import (
	"encoding/json"
	"fmt"
	"io"
)

// Verbs of the program. It is called by each name in turn: by package machines,
// by itself within the new control-group namespace, and as the child of the
// first process, which only waits.
const (
	VerbInit      = "init"
	VerbBoot      = "boot"
	VerbSupervise = "supervise"
	// VerbImport loads archives of images, on a machine that is up.
	VerbImport = "import"
	// VerbCertificate prints the certificate that an address shows, in PEM.
	VerbCertificate = "certificate"
)

// ArchiveDir is where a machine finds the lab's archives of images, all of which
// it imports when it starts.
const ArchiveDir = "/run/capiam-e2e/images"

// ReadyFD is the file descriptor on which a machine tells whoever started it
// that it is up: an empty line, or what went wrong.
const ReadyFD = 3

// ProgramDir is where a machine finds the programs that the harness built.
const ProgramDir = "/opt/capiam-e2e"

// Spec says what a machine is. Its maker writes it to the first process, on
// standard input, when the namespaces are connected.
type Spec struct {
	// Name is the host name, and the name of the Kubernetes node.
	Name string `json:"name"`
	// Dir is the machine's directory on the host.
	Dir string `json:"dir"`
	// Programs is the host's directory that becomes ProgramDir.
	Programs string `json:"programs"`
	// Archives is the host's directory of images to import.
	Archives string `json:"archives"`
	// Address is the machine's own, with the length of its network's prefix.
	Address string `json:"address"`
	// Gateway is where everything else is sent.
	Gateway string `json:"gateway"`
	// PodCIDR is where the pods of this machine get their addresses.
	PodCIDR string `json:"podCIDR"`
	// Hosts are further lines of /etc/hosts.
	Hosts string `json:"hosts,omitempty"`
	// Trust are certificate authorities in PEM that all containers trust instead
	// of those their images bring.
	Trust string `json:"trust,omitempty"`
	// PauseImage is the image of containerd's sandboxes.
	PauseImage string `json:"pauseImage"`
	// Controllers are the version 1 control-group hierarchies, as mount options:
	// "memory", "cpu,cpuacct", "name=systemd".
	Controllers []string `json:"controllers"`
	// Command runs as the first process, in place of a Kubernetes node.
	Command []string `json:"command,omitempty"`
	// Files are written before anything starts.
	Files map[string]string `json:"files,omitempty"`
}

func readSpec(r io.Reader) (Spec, error) {
	var spec Spec
	if err := json.NewDecoder(r).Decode(&spec); err != nil {
		return Spec{}, fmt.Errorf("read what this machine is: %w", err)
	}
	return spec, nil
}
