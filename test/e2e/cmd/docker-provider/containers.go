package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	dockersystem "github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"
	"sigs.k8s.io/cluster-api/test/infrastructure/container"

	"github.com/capiam/capiam/test/e2e/machines"
)

// containers is the provider's interface to Docker, answered by a lab.
type containers struct {
	lab *machines.Lab
}

var _ container.Runtime = containers{}

func newContainers(lab *machines.Lab) containers { return containers{lab: lab} }

// errNoImages answers what only a store of images could.
var errNoImages = errors.New("machines are not made from images; import archives into the lab instead")

func (c containers) SaveContainerImage(context.Context, string, string) error { return errNoImages }

// PullContainerImage does nothing: every machine is made of what is on the host.
func (c containers) PullContainerImage(context.Context, string) error { return nil }

func (c containers) PullContainerImageIfNotExists(context.Context, string) error { return nil }

func (c containers) ImageExistsLocally(context.Context, string) (bool, error) { return true, nil }

// GetHostPort answers with the port itself, as nothing is between the provider
// and the machines.
func (c containers) GetHostPort(_ context.Context, _, portAndProtocol string) (string, error) {
	port, _, _ := strings.Cut(portAndProtocol, "/")
	return port, nil
}

func (c containers) GetContainerIPs(_ context.Context, name string) (ipv4, ipv6 string, err error) {
	machine, err := c.lab.Get(name)
	if err != nil {
		return "", "", err
	}
	if !machine.Running() {
		return "", "", nil // as Docker answers for a container that ended
	}
	return machine.Address, "", nil
}

func (c containers) GetContainerLogs(_ context.Context, name string) (string, error) {
	machine, err := c.lab.Get(name)
	if err != nil {
		return "", err
	}
	log, err := machine.Log()
	return string(log), err
}

func (c containers) ExecContainer(ctx context.Context, name string, config *container.ExecContainerInput, command string, args ...string) error {
	machine, err := c.lab.Get(name)
	if err != nil {
		return err
	}
	var output bytes.Buffer
	e := machines.Exec{Stdin: config.InputBuffer, Stdout: config.OutputBuffer, Stderr: config.ErrorBuffer, Env: config.EnvironmentVars}
	if e.Stdout == nil {
		e.Stdout = &output
	}
	if e.Stderr == nil {
		e.Stderr = e.Stdout
	}
	if err := machine.Exec(ctx, e, command, args...); err != nil {
		return fmt.Errorf("%w: %s", err, output.String())
	}
	return nil
}

// RunContainer makes a machine: one with a Kubernetes node's programs, or the
// load balancer's.
func (c containers) RunContainer(ctx context.Context, config *container.RunContainerInput, _ io.Writer) error {
	spec := machines.Spec{Name: config.Name, Image: config.Image, Labels: config.Labels}
	if len(config.Entrypoint) > 0 {
		// The configuration asks for more connections than a process may have
		// files where raising the limit is not allowed.
		spec.Command = append(slices.Clone(config.Entrypoint), "-n", "4000")
		spec.Files = map[string]string{haproxyConfig: haproxyIdle}
	}
	_, err := c.lab.Run(ctx, spec)
	return err
}

// The load balancer's image comes with a configuration that serves nobody; the
// provider writes the real one over it, and then has it read.
const (
	haproxyConfig = "/usr/local/etc/haproxy/haproxy.cfg"
	haproxyIdle   = `defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s

frontend idle
  bind *:8404
  http-request return status 200
`
)

// ListContainers knows the filters that the provider uses: labels, and names as
// regular expressions.
func (c containers) ListContainers(_ context.Context, filters container.FilterBuilder) ([]container.Container, error) {
	all, err := c.lab.List()
	if err != nil {
		return nil, err
	}
	var found []container.Container
	for _, machine := range all {
		match, err := matches(machine, filters)
		if err != nil {
			return nil, err
		}
		if !match {
			continue
		}
		status := "Exited"
		if machine.Running() {
			status = "Up"
		}
		found = append(found, container.Container{Name: machine.Name, Image: machine.Image, Status: status})
	}
	return found, nil
}

func matches(machine *machines.Machine, filters container.FilterBuilder) (bool, error) {
	for kind, wanted := range filters {
		for key, values := range wanted {
			switch kind {
			case "label":
				value, labelled := machine.Labels[key]
				for _, want := range values {
					if !labelled || want != "" && want != value {
						return false, nil
					}
				}
			case "name":
				match, err := regexp.MatchString(key, machine.Name)
				if err != nil || !match {
					return false, err
				}
			default:
				return false, fmt.Errorf("list containers: unknown filter %q", kind)
			}
		}
	}
	return true, nil
}

func (c containers) ContainerDebugInfo(_ context.Context, name string, w io.Writer) error {
	machine, err := c.lab.Get(name)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(w).Encode(machine); err != nil {
		return err
	}
	log, err := machine.Log()
	if err != nil {
		return err
	}
	_, err = w.Write(log)
	return err
}

func (c containers) DeleteContainer(ctx context.Context, name string) error {
	return c.lab.Remove(ctx, name)
}

func (c containers) KillContainer(_ context.Context, name, signal string) error {
	machine, err := c.lab.Get(name)
	if err != nil {
		return err
	}
	number := unix.SignalNum(signal)
	if number == 0 {
		return fmt.Errorf("unknown signal %q", signal)
	}
	return machine.Signal(number)
}

func (c containers) GetSystemInfo(context.Context) (dockersystem.Info, error) {
	return dockersystem.Info{Name: "lab", SystemTime: time.Now().UTC().Format(time.RFC3339)}, nil
}
