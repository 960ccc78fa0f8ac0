package clusterapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// imageTimeout is how long a registry may take. It is short, as its answer is
// not needed.
const imageTimeout = 3 * time.Second

func (p *preflight) image(ctx context.Context) finding {
	if p.o.Image == "" {
		return finding{}
	}
	ref, err := name.ParseReference(p.o.Image)
	if err != nil {
		return finding{
			problem: fmt.Sprintf("the authenticator's image: %v", err),
			remedy:  "write registry/repository:tag, or registry/repository@sha256:..., into spec.server.image of the AWSIamConfig",
		}
	}
	ctx, cancel := context.WithTimeout(ctx, imageTimeout)
	defer cancel()
	// Nobody's credentials: those of this machine are not the nodes'. The
	// answer that an image is for others only is not that there is none.
	_, err = remote.Get(ref, remote.WithContext(ctx), remote.WithUserAgent("capiam"), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
	said, ok := errors.AsType[*transport.Error](err)
	if !ok || said.StatusCode != http.StatusNotFound {
		return finding{}
	}
	return finding{
		problem: fmt.Sprintf("%s says that it has no image %s", ref.Context().RegistryStr(), ref.Name()),
		remedy:  "push the image there, or name another with spec.server.image or a registry mirror in the spec; if the nodes have it loaded already, all is well",
		warning: true,
	}
}
