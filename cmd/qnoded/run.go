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
	"qstack/qnet"
)

func newRun() *cobra.Command {
	var stopOnEOF bool
	var orphans string
	level := slog.LevelInfo
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Run one process of a network: a node, or the fabric",
		Long: `Run one process of a network in the foreground, until SIGINT or SIGTERM, from its
configuration file: scenario, role (node or fabric), name, folder of credentials,
and the UDP address of everybody; see docs/operations.md. "qnoded init" makes the
files of a whole network.`,
		Example: `  qnoded init --dir net
  qnoded run net/alice/qnoded.toml`,
		Args: cobra.ExactArgs(1),
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
			if err == nil {
				<-ctx.Done()
				err = d.Close()
			} else if errors.Is(err, qnet.ErrInvalid) || errors.Is(err, qnet.ErrAuth) {
				err = badConfig(err)
			}
			if stopOnEOF {
				removeRuntime(cfg.RuntimeDir()) // the last process of the network succeeds
			}
			if orphans != "" && ctx.Err() != nil && cmd.Context().Err() == nil { // the launcher died
				err = errors.Join(err, os.RemoveAll(orphans))
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&stopOnEOF, "stop-on-eof", false, "stop when the standard input ends, and remove the folder of the sockets if it is empty then")
	cmd.Flags().StringVar(&orphans, "remove-on-eof", "", "with --stop-on-eof, also remove `FOLDER` and all that is in it when the standard input ends")
	cmd.Flags().TextVar(&level, "log", level, "least `LEVEL` to log: debug, info, warn or error")
	return cmd
}
