package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/capiam/capiam/pkg/provider/local"
)

// socket is where a running management cluster is spoken to.
func socket(dir string) string { return local.Layout{Dir: dir}.ControlSocket() }

// stopWord is what asks a management cluster to end. The answer is the end of
// the connection, when it has.
const stopWord = "stop"

// control listens for a request to end.
type control struct {
	listener net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

// listen listens. Whoever calls it holds the management cluster's lock, so a
// socket that is there already was left by a process that was killed.
func listen(dir string) (*control, error) {
	if err := os.Remove(socket(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", socket(dir))
	if err != nil {
		return nil, err
	}
	return &control{listener: listener}, nil
}

// waitStop returns when somebody has asked for the end, or after close.
func (c *control) waitStop() {
	asked := make(chan struct{})
	var once sync.Once
	go func() {
		for {
			conn, err := c.listener.Accept()
			if err != nil {
				once.Do(func() { close(asked) })
				return
			}
			c.mu.Lock()
			c.conns = append(c.conns, conn)
			c.mu.Unlock()
			go func() {
				word, _ := io.ReadAll(io.LimitReader(conn, int64(len(stopWord))))
				if string(word) == stopWord {
					once.Do(func() { close(asked) })
				}
			}()
		}
	}()
	<-asked
}

func (c *control) close() { _ = c.listener.Close() }

func dial(dir string) (net.Conn, error) { return net.Dial("unix", socket(dir)) }

// running tells whether a management cluster is up.
func running(dir string) bool {
	conn, err := dial(dir)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// askStop asks a management cluster to end, and returns when its process has.
func askStop(ctx context.Context, conn net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, stopWord); err != nil {
		return err
	}
	// The kernel closes the other end with the process.
	if _, err := io.ReadAll(conn); err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// peer is the process behind a connection.
func peer(conn net.Conn) (int, error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, fmt.Errorf("ask who runs the management cluster: %w", credErr)
	}
	return int(cred.Pid), nil
}
