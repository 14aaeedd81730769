package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"qstack/node/daemon"
)

// networkFlag names the network whose daemons are asked.
func networkFlag(cmd *cobra.Command, network *string) {
	cmd.Flags().StringVar(network, "network", os.Getenv("QNET_NETWORK"), "name of the network (default: $QNET_NETWORK, or the only one that runs)")
}

// lull is the time between two looks at a memory that is full: in normal traffic
// a pair comes meanwhile.
const lull = time.Second

// ask asks every process of a network on this machine for its status, all at
// once. It returns their answers by name, and the names in order.
func ask(ctx context.Context, network string) (map[string]daemon.Answer, []string, error) {
	dir := daemon.RuntimeDir(network)
	if network == "" {
		dirs, err := filepath.Glob(filepath.Join(daemon.RuntimeDir("*"), "*.ctl"))
		if err != nil {
			return nil, nil, err
		}
		seen := make(map[string]bool)
		var names []string
		for _, d := range dirs {
			if d = filepath.Dir(d); !seen[d] {
				seen[d] = true
				names = append(names, filepath.Base(d))
				dir = d
			}
		}
		switch len(names) {
		case 0:
			return nil, nil, fmt.Errorf("no network runs on this machine (no control socket in %s); start one with \"qnoded up\"", daemon.RuntimeDir("*"))
		case 1:
		default:
			return nil, nil, usage("several networks run here: %s; choose one with --network", strings.Join(names, ", "))
		}
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.ctl"))
	if err != nil {
		return nil, nil, err
	}
	if len(paths) == 0 {
		return nil, nil, fmt.Errorf("network %s does not run on this machine (no control socket in %s); check the name, or start it with \"qnoded up\"", network, dir)
	}
	all := make([]daemon.Answer, len(paths))
	var asked sync.WaitGroup
	for i, p := range paths {
		asked.Go(func() { all[i].Status, all[i].Err = daemon.FetchStatus(ctx, p) })
	}
	asked.Wait()
	answers := make(map[string]daemon.Answer)
	var order []string
	for i, p := range paths {
		name := strings.TrimSuffix(filepath.Base(p), ".ctl")
		answers[name] = all[i]
		order = append(order, name)
	}
	return answers, order, nil
}

func newStatus() *cobra.Command {
	var network string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the processes of a network on this machine are doing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			answers, order, err := ask(cmd.Context(), network)
			if err != nil {
				return err
			}
			if asJSON {
				all := []*daemon.Status{}
				for _, name := range order {
					if a := answers[name]; a.Err == nil {
						all = append(all, a.Status)
					}
				}
				return json.NewEncoder(cmd.OutOrStdout()).Encode(all)
			}
			return writeStatus(cmd.OutOrStdout(), answers, order)
		},
	}
	networkFlag(cmd, &network)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array, an object for each process")
	return cmd
}

// linkFidelity says what is expected of pairs that a link keeps, at its best
// operating point.
func linkFidelity(points []daemon.LinkPoint) string {
	if len(points) == 0 {
		return "-"
	}
	best := slices.MaxFunc(points, func(a, b daemon.LinkPoint) int { return cmp.Compare(a.Fidelity, b.Fidelity) })
	s := fmt.Sprintf("%.4f", best.Fidelity)
	if best.Rounds >= 1 {
		s += fmt.Sprintf(" (%.4f to %.4f by %.0f test rounds)", best.Lower, best.Upper, best.Rounds)
	}
	return s
}

func writeStatus(w io.Writer, answers map[string]daemon.Answer, order []string) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "name\trole\tpid\tstate\tup for\tpairs\tswaps")
	for _, name := range order {
		a := answers[name]
		if a.Err != nil {
			fmt.Fprintf(t, "%s\t-\t-\tno answer\t-\t-\t-\n", name)
			continue
		}
		st := a.Status
		state := "ready"
		if !st.Ready {
			var missing []string
			for _, p := range st.Peers {
				if !p.Up {
					missing = append(missing, p.Name)
				}
			}
			state = "waits for " + strings.Join(missing, ", ")
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%.0f s\t%d\t%d\n", st.Name, st.Role, st.PID, state, st.UptimeS, st.Pairs, st.Swaps)
	}
	fmt.Fprintln(t, "\nlink\tat\tstate\tpairs\tqubits attempting\tin use\tof\tfidelity")
	for _, name := range order {
		if st := answers[name].Status; st != nil {
			for _, k := range st.Links {
				state := "up"
				if k.Down != "" {
					state = k.Down
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", k.Name, st.Name, state, k.Pairs, k.Open, k.Held, k.Lanes, linkFidelity(k.Points))
			}
		}
	}
	fmt.Fprintln(t, "\nsocket\tat\tto\tstate\tasked here\tasked there")
	for _, name := range order {
		if st := answers[name].Status; st != nil {
			for _, s := range st.Sockets {
				fmt.Fprintf(t, "%s\t%s\t%s:%d\t%s\t%d\t%d\n", s.Program, st.Name, s.Peer, s.Port, s.State, len(s.Here), len(s.There))
			}
		}
	}
	return t.Flush()
}

func newDoctor() *cobra.Command {
	var network string
	var e ends
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor --from A --to B",
		Short: "Say why pairs between two nodes are not coming",
		Long: `Ask every process of a network on this machine and say why pairs between two
nodes are not coming: which process or link is down, which program has not asked,
which memory is full. A memory that is full is looked at again after a second,
since in normal traffic it is full for a moment. Finding something is no failure: the exit code is 0 then too.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if e.from == "" || e.to == "" {
				return usage("doctor needs --from and --to")
			}
			if e.from == e.to {
				return usage("--from and --to are both %s: a pair joins two nodes, name another", e.from)
			}
			answers, _, err := ask(cmd.Context(), network)
			if err != nil {
				return err
			}
			problems, err := daemon.Diagnose(e.from, e.to, answers, func() (map[string]daemon.Answer, error) {
				select {
				case <-time.After(lull):
				case <-cmd.Context().Done():
					return nil, context.Cause(cmd.Context())
				}
				later, _, err := ask(cmd.Context(), network)
				return later, err
			})
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				if problems == nil {
					problems = []daemon.Problem{}
				}
				return json.NewEncoder(out).Encode(problems)
			}
			if len(problems) == 0 {
				_, err := fmt.Fprintf(out, "nothing stands in the way of pairs between %s and %s\n", e.from, e.to)
				return err
			}
			for _, p := range problems {
				if _, err := fmt.Fprintf(out, "%s: %s\n    %s\n", p.Where, p.What, p.Do); err != nil {
					return err
				}
			}
			return nil
		},
	}
	networkFlag(cmd, &network)
	cmd.Flags().StringVar(&e.from, "from", "", "node at one end")
	cmd.Flags().StringVar(&e.to, "to", "", "node at the other end")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array of problems")
	return cmd
}
