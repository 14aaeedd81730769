package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"qstack/qnet/trace"
)

// tracing says where a trace goes.
type tracing struct {
	file     string // "" for no trace
	contents bool   // of messages too
}

// registerContents registers the flag of contents. Processes do not have it: there
// the ends of a link need not trust who may read the trace.
func (t *tracing) registerContents(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&t.contents, "trace-contents", false, "with --trace, also write what is in the messages of link and network layer, in hexadecimal: the ends' secrets about test rounds are in it")
}

// open makes the trace file of a simulation, for its owner alone if it has
// contents. It returns nil for no trace, and what closes the trace.
func (t *tracing) open(ctx context.Context) (w *trace.Writer, closed func() error, err error) {
	if t.file == "" {
		if t.contents {
			return nil, nil, usage("--trace-contents: there is no trace: give --trace FILE as well")
		}
		return nil, func() error { return nil }, nil
	}
	mode, writer := os.FileMode(0o666), trace.NewWriter
	if t.contents {
		mode, writer = 0o600, trace.NewContentsWriter
	}
	file, err := create(ctx, t.file, mode)
	if err != nil {
		return nil, nil, usage("--trace: %w", err)
	}
	w = writer(file)
	return w, func() error { return errors.Join(traceError(w.Close()), traceError(file.Close())) }, nil
}
