package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
)

// mergeTraces writes the traces of several processes as one, in order of time, and
// closes it. A process that left no trace is passed over.
func mergeTraces(to io.WriteCloser, from []string) (err error) {
	defer func() { err = errors.Join(err, to.Close()) }()
	type line struct {
		at   int64
		text []byte
	}
	var lines []line
	for _, name := range from {
		data, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		var at int64 // of the line before, for one that was cut off
		for text := range bytes.Lines(data) {
			if t, ok := traceTime(text); ok {
				at = t
			}
			if bytes.HasSuffix(text, []byte("\n")) { // a process that was killed may leave half a line
				lines = append(lines, line{at, text})
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	w := bufio.NewWriter(to)
	for _, l := range lines {
		if _, err := w.Write(l.text); err != nil {
			return err
		}
	}
	return w.Flush()
}

// traceError says what to do about a trace that could not be written, if err says
// that it could not.
func traceError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the trace is not complete: %w: make room, or choose another file with --trace", err)
}

// createTrace makes the trace file, so that one that can not be written is known
// before anything runs. It returns nil for no trace.
func createTrace(ctx context.Context, name string) (*os.File, error) {
	if name == "" {
		return nil, nil
	}
	f, err := create(ctx, name, 0o666)
	if err != nil {
		return nil, usage("--trace: %w", err)
	}
	return f, nil
}

// traceTime returns the instant of a trace line, which begins with {"t":.
func traceTime(line []byte) (int64, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"t":`))
	if !ok {
		return 0, false
	}
	number, _, ok := bytes.Cut(rest, []byte(","))
	if !ok {
		return 0, false
	}
	t, err := strconv.ParseInt(string(number), 10, 64)
	return t, err == nil
}
