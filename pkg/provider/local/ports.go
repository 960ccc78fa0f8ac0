package local

import (
	"fmt"
	"net"
	"strconv"
)

// ChoosePorts returns free loopback ports. A port the user asked for is not
// replaced: if it is taken, that is the error. Ports that other clusters of the
// store keep are left to them, running or not.
func (s *Store) ChoosePorts(apiServer int) (Ports, error) {
	var ports Ports
	kept := map[int]string{}
	records, _ := s.List() // a damaged neighbour keeps no port
	for _, r := range records {
		for _, port := range []int{r.Ports.APIServer, r.Ports.ControllerManager, r.Ports.Authenticator, r.Ports.AuthenticatorHealth, r.Ports.STSProxy} {
			kept[port] = r.Name
		}
	}
	if apiServer != 0 {
		if owner, ok := kept[apiServer]; ok {
			return ports, fmt.Errorf("port %d is kept by local cluster %q; choose another for spec.apiServerPort, or leave it out", apiServer, owner)
		}
		if err := PortFree(apiServer); err != nil {
			return ports, fmt.Errorf("%w; choose another for spec.apiServerPort, or leave it out", err)
		}
		ports.APIServer = apiServer
		kept[apiServer] = ""
	}
	// All listeners stay open until every port is chosen, so that no two are
	// the same.
	var open []net.Listener
	defer func() {
		for _, l := range open {
			_ = l.Close()
		}
	}()
	for _, port := range []*int{&ports.APIServer, &ports.ControllerManager, &ports.Authenticator, &ports.AuthenticatorHealth, &ports.STSProxy} {
		for *port == 0 {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				return Ports{}, fmt.Errorf("find a free port: %w", err)
			}
			open = append(open, l)
			free := l.Addr().(*net.TCPAddr).Port
			if _, taken := kept[free]; !taken {
				*port = free
			}
		}
	}
	return ports, nil
}

// All returns every port with the name of who listens on it.
func (p Ports) All() map[string]int {
	return map[string]int{
		"kube-apiserver":          p.APIServer,
		"kube-controller-manager": p.ControllerManager,
		"authenticator":           p.Authenticator,
		"authenticator health":    p.AuthenticatorHealth,
		"simulated STS":           p.STSProxy,
	}
}

// PortFree returns an error if somebody listens on the loopback port.
func PortFree(port int) error {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("port %d on 127.0.0.1 is taken: %w", port, err)
	}
	return l.Close()
}
