// Command tool makes what capiam publishes. Run it through make:
//
//	make release-manifest            the embedded manifest's files
//	make release VERSION=v0.1.0      archives, checksums, SBOM, images, manifest
//	make image                       the images alone
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := &cobra.Command{
		Use:           "tool",
		Short:         "Make what capiam publishes",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(newManifestCommand(), newReleaseCommand(), newImageCommand())
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return 0
}
