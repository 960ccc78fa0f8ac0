package token

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

var errMFA = errors.New("the profile wants the code of an MFA device")

// mfaPrompt returns a function that asks for an MFA device's code. Standard
// output is kubectl's, so the question goes to the error stream.
func mfaPrompt(ctx context.Context, in io.Reader, out io.Writer) func() (string, error) {
	return func() (string, error) {
		if in == nil {
			return "", fmt.Errorf("%w, and there is no terminal to ask for it; log in first, so that a session is cached, or choose another profile", errMFA)
		}
		if out != nil {
			fmt.Fprint(out, "MFA code: ")
		}
		type answer struct {
			line string
			err  error
		}
		// A read of a terminal cannot be called off. When the context ends
		// the reader is left behind, and ends with the program.
		answers := make(chan answer, 1)
		go func() {
			line, err := bufio.NewReader(io.LimitReader(in, 256)).ReadString('\n')
			answers <- answer{line, err}
		}()
		select {
		case a := <-answers:
			code := strings.TrimSpace(a.line)
			if code == "" {
				if a.err == nil {
					a.err = errors.New("the line is empty")
				}
				return "", fmt.Errorf("%w, and none was given: %w", errMFA, a.err)
			}
			return code, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
