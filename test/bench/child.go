package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

// child is another process of this program, which takes orders as lines of JSON
// and answers each with one. It ends when its standard input does.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	addrs []string
	mu    sync.Mutex
}

// startChild starts this program as one of its other parts.
func startChild(ctx context.Context, env []string, part string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, append([]string{"-part", part}, args...)...)}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	if err := c.read(&c.addrs); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// ask gives an order and reads the answer.
func (c *child) ask(order, answer any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	line, err := json.Marshal(order)
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return err
	}
	return c.read(answer)
}

func (c *child) read(v any) error {
	if !c.out.Scan() {
		return errors.Join(errEnded, c.out.Err())
	}
	return json.Unmarshal(c.out.Bytes(), v)
}

// close ends the process and waits for it.
func (c *child) close() error {
	err := c.in.Close()
	if wait := c.cmd.Wait(); wait != nil {
		err = errors.Join(err, fmt.Errorf("%v: %w", c.cmd.Args[1:], wait))
	}
	return err
}

// talk is the other end: it says the addresses, then obeys.
func talk[Order any](in io.Reader, out io.Writer, addrs []string, obey func(Order) (any, error)) error {
	encode := json.NewEncoder(out)
	if err := encode.Encode(addrs); err != nil {
		return err
	}
	orders := json.NewDecoder(in)
	for {
		var order Order
		if err := orders.Decode(&order); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		answer, err := obey(order)
		if err != nil {
			return err
		}
		if err := encode.Encode(answer); err != nil {
			return err
		}
	}
}
