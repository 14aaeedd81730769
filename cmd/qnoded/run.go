package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"qstack/node/daemon"
)

func newRun() *cobra.Command {
	var stopOnEOF bool
	var orphans string
	level := slog.LevelInfo
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Run one process of a network: a node, or the fabric",
		Long: `Run one process of a network in the foreground, from its configuration file:
scenario, role (node or fabric), name, folder of credentials, and the UDP address
of everybody; see docs/operations.md.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			cfg, err := daemon.LoadConfig(a[0])
			if err != nil {
				return badConfig(err)
			}
			// Whoever reads the log may go before the daemon has stopped.
			signal.Ignore(syscall.SIGPIPE)
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			if stopOnEOF {
				in := cmd.InOrStdin()
				go func() { // ends with the process at the latest
					_, _ = io.Copy(io.Discard, in)
					stop()
				}()
			}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
			d, err := daemon.Start(cfg, log)
			if err != nil {
				return err
			}
			<-ctx.Done()
			err = d.Close()
			if orphans != "" && cmd.Context().Err() == nil { // the launcher died
				err = errors.Join(err, os.RemoveAll(orphans))
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&stopOnEOF, "stop-on-eof", false, "stop when the standard input ends")
	cmd.Flags().StringVar(&orphans, "remove-on-eof", "", "also remove `FOLDER` when the standard input ends")
	cmd.Flags().TextVar(&level, "log", level, "least `LEVEL` to log: debug, info, warn or error")
	return cmd
}
