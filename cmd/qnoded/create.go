package main

import (
	"context"
	"os"
)

// create makes a file, or empties it, to write to and nothing else: a process that
// could read from a pipe as well would never learn that nobody else does. A named
// pipe waits for who reads it, until ctx is done.
func create(ctx context.Context, name string, mode os.FileMode) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	opened := make(chan result, 1)
	go func() {
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
		opened <- result{file, err}
	}()
	select {
	case r := <-opened:
		return r.file, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
