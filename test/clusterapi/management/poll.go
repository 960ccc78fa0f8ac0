package management

import (
	"context"
	"fmt"
	"time"
)

// pollEvery is how often something that is waited for is looked at.
const pollEvery = 50 * time.Millisecond

// poll calls check until it returns nil. It gives up when alive returns an
// error, or when ctx ends; then check's last error is the reason.
func poll(ctx context.Context, alive func() error, check func(context.Context) error) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if dead := alive(); dead != nil {
			return dead
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-ticker.C:
		}
	}
}
