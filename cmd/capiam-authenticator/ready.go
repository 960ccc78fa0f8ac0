package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func newReadyCommand(g *globals) *cobra.Command {
	socket := ""
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Ask a server by its socket whether it is ready",
		Long: `Ask a server by its unix socket (server.healthSocket) whether it is ready, and print
what it says. The exit status is 0 if it is, 1 if not: the kubelet's readiness probe
of one of two servers that share a port.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 4*time.Second)
			defer cancel()
			client := &http.Client{Transport: &http.Transport{
				DisableKeepAlives: true,
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "unix", socket)
				},
			}}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/readyz", nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return fmt.Errorf("ask the server: %w", err)
			}
			defer resp.Body.Close()
			if _, err := io.Copy(g.out, io.LimitReader(resp.Body, 64<<10)); err != nil {
				return fmt.Errorf("ask the server: %w", err)
			}
			if resp.StatusCode != http.StatusOK {
				return errors.New("the server is not ready")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&socket, "socket", "", "`path` of the server's socket")
	_ = cmd.MarkFlagRequired("socket")
	return cmd
}
