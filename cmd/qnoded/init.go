package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"qstack/node"
	"qstack/node/daemon"
	"qstack/node/scenario"
	"qstack/qnet"
	"qstack/qnet/pki"
)

func newInit() *cobra.Command {
	o := initOptions{portBase: 4001, validity: 365 * 24 * time.Hour}
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Make the credentials and configuration of a network, for one host or many",
		Long: `Make a folder with what the processes of a network start from: a folder for the
fabric (world.fabric) and one for each node, to be copied to its host and run
there with "qnoded run"; the folder world.observer, of who may see the states of
qubits with "qnoded observe"; and the folder ca, of the certificate authority,
which nobody else needs. The folder of a process holds the scenario, the
configuration qnoded.toml, and the credentials of that process only.

Processes are on this machine unless --host says where; then it must say it for
each of them. Everybody has a UDP port of his own, from --port-base on: the
fabric, the station of each link (which is part of the fabric's process), and
each node. Without FILE the embedded ions3 scenario is taken.`,
		Example: `  qnoded init ions3.toml --dir net --host world.fabric=10.0.0.1 \
      --host alice=10.0.0.2 --host bob=10.0.0.3 --host charlie=10.0.0.4
  scp -r net/alice 10.0.0.2:
  ssh 10.0.0.2 qnoded run alice/qnoded.toml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, a []string) error {
			s, doc, err := loadScenario(a)
			if err != nil {
				return err
			}
			if o.ca != "" && cmd.Flags().Changed("validity") {
				return usage("--validity: certificates end when the authority of --ca does; give only one of the two")
			}
			return o.run(s, doc.Data(), cmd.OutOrStdout())
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.dir, "dir", "", "`FOLDER` to make (default: the network's name)")
	fl.StringArrayVar(&o.hosts, "host", nil, "host of a process, as in alice=10.0.0.2; for each or none (default 127.0.0.1)")
	fl.IntVar(&o.portBase, "port-base", o.portBase, "first UDP `PORT`")
	fl.StringVar(&o.ca, "ca", "", "`FOLDER` of an authority of an earlier init to issue from (default: a new one)")
	fl.DurationVar(&o.validity, "validity", o.validity, "how long a new authority and its certificates are valid")
	fl.BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

// initOptions are the flags of init.
type initOptions struct {
	dir      string
	hosts    []string
	portBase int
	ca       string
	validity time.Duration
	json     bool
}

// made is what init prints.
type made struct {
	Network   string        `json:"network"`
	Dir       string        `json:"dir"`
	CA        string        `json:"ca"`      // folder of the authority
	Expires   time.Time     `json:"expires"` // all certificates
	Processes []madeProcess `json:"processes"`
}

type madeProcess struct {
	Role   string `json:"role"`
	Name   string `json:"name"`
	Host   string `json:"host"`
	Ports  []int  `json:"ports"` // UDP, one after the other
	Dir    string `json:"dir"`
	Config string `json:"config"` // file for "qnoded run"
}

// maxPort is the last UDP port.
const maxPort = 65535

// run makes the folder, or nothing at all.
func (o *initOptions) run(s *scenario.Scenario, source []byte, w io.Writer) (err error) {
	hosts, err := o.parseHosts(s)
	if err != nil {
		return err
	}
	if n := len(daemon.Names(s)); o.portBase < 1 || o.portBase > maxPort+1-n {
		return usage("--port-base: %d: network %s needs %d ports from there on, within 1 to %d", o.portBase, s.Name, n, maxPort)
	}
	ca, err := o.authority(s)
	if err != nil {
		return err
	}
	report := made{Network: s.Name, Dir: filepath.Clean(cmp.Or(o.dir, s.Name)), CA: o.ca, Expires: ca.Certificate().NotAfter}
	if report.CA == "" {
		report.CA = filepath.Join(report.Dir, "ca") // package pki lets no process have this name
	}
	addresses, port := make(map[string]string), o.portBase
	for _, name := range processNames(s) {
		p := madeProcess{Role: daemon.RoleNode, Name: name, Host: hosts[name], Dir: filepath.Join(report.Dir, name)}
		p.Config = filepath.Join(p.Dir, configFile)
		if name == node.FabricName {
			p.Role = daemon.RoleFabric
		}
		for _, identity := range identities(s, name) {
			addresses[identity] = net.JoinHostPort(p.Host, strconv.Itoa(port))
			p.Ports = append(p.Ports, port)
			port++
		}
		report.Processes = append(report.Processes, p)
	}

	if err := os.Mkdir(report.Dir, 0o700); errors.Is(err, fs.ErrExist) {
		return usage("--dir: %s is there already: choose another folder, or remove it", report.Dir)
	} else if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(report.Dir))
		}
	}()
	if err := writeProcesses(report.Dir, s, source, ca, daemon.Config{Addresses: addresses}); err != nil {
		return err
	}
	if err := ca.Save(report.CA); err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(w).Encode(report)
	}
	return report.print(w)
}

// authority returns the one that issues.
func (o *initOptions) authority(s *scenario.Scenario) (*pki.CA, error) {
	if o.ca == "" {
		if o.validity < time.Second {
			return nil, usage("--validity: %v is less than a second", o.validity)
		}
		ca, err := pki.NewCA(s.Realm, o.validity)
		if err != nil {
			return nil, badConfig(err)
		}
		return ca, nil
	}
	ca, err := pki.LoadCA(o.ca)
	switch {
	case err != nil:
		return nil, usage("--ca: %v", err)
	case ca.Realm() != s.Realm:
		return nil, usage("--ca: the authority in %s is that of realm %s, and network %s is of realm %s", o.ca, ca.Realm(), s.Name, s.Realm)
	}
	return ca, nil
}

// parseHosts returns the host of every process.
func (o *initOptions) parseHosts(s *scenario.Scenario) (map[string]string, error) {
	processes := processNames(s)
	hosts := make(map[string]string)
	for _, text := range o.hosts {
		name, host, ok := strings.Cut(text, "=")
		switch {
		case !ok:
			return nil, usage("--host: %q: want NAME=HOST, as in alice=10.0.0.2", text)
		case !slices.Contains(processes, name):
			return nil, usage("--host: network %s has no process %q: name a node, or %s, whose process the stations are part of", s.Name, name, node.FabricName)
		case hosts[name] != "":
			return nil, usage("--host: %s is at %s already", name, hosts[name])
		}
		ip, err := netip.ParseAddr(host)
		switch {
		case err == nil && ip.IsUnspecified():
			return nil, usage("--host: %s: nobody can reach %s: give an address that the others know", name, host)
		case err != nil && (host == "" || strings.ContainsAny(host, ":/[] ")):
			return nil, usage("--host: %s: %q is neither a name nor an IP address; ports follow from --port-base", name, host)
		}
		hosts[name] = host
	}
	for _, name := range processes {
		switch {
		case len(o.hosts) == 0:
			hosts[name] = "127.0.0.1"
		case hosts[name] == "":
			return nil, usage("--host: %s has none: give one to each process, or to none of them for a network on this machine", name)
		}
	}
	return hosts, nil
}

// print says what was made, and what to do with it.
func (m *made) print(w io.Writer) error {
	fmt.Fprintf(w, "made %s for network %s; its certificates are valid until %s\n\n", m.Dir, m.Network, m.Expires.Format(time.DateOnly))
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "process\thost\tUDP ports\tfolder")
	for _, p := range m.Processes {
		ports := strconv.Itoa(p.Ports[0])
		if n := len(p.Ports); n > 1 {
			ports += "-" + strconv.Itoa(p.Ports[n-1])
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, p.Host, ports, p.Dir)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, `
next, for each process: copy its folder to its host if that is another one, and
run it there:
  qnoded run FOLDER/%s
then, on any of these hosts, see what its processes are doing:
  qnoded status --network %s
keep %s to yourself: with the key in it anybody can join the network
`, configFile, m.Network, m.CA)
	return err
}

// The files in the folder of a process.
const (
	configFile        = "qnoded.toml"
	scenarioFile      = "scenario.toml"
	credentialsFolder = "credentials"
	traceFile         = "trace.jsonl"
)

// processNames returns the names of the processes of a network, the fabric's
// first.
func processNames(s *scenario.Scenario) []string {
	names := []string{node.FabricName}
	for i := range s.Nodes {
		names = append(names, s.Nodes[i].Name)
	}
	return names
}

// identities returns whom a process acts as: a node as itself, the fabric also as
// the stations of all links.
func identities(s *scenario.Scenario, process string) []string {
	if process == node.FabricName {
		return daemon.Names(s)[:1+len(s.Links)]
	}
	return []string{process}
}

// writeProcesses makes, in dir, a folder for each process of a network and for
// its observer, called like the process: with its configuration, which is base and what is its own
// (faults are the fabric's only), the scenario, whose source is given, and the
// credentials of its own identities, which ca issues. Preset files that the
// scenario refers to come along.
func writeProcesses(dir string, s *scenario.Scenario, source []byte, ca *pki.CA, base daemon.Config) error {
	for _, process := range append(processNames(s), node.ObserverName) {
		folder := filepath.Join(dir, process)
		for _, name := range identities(s, process) {
			cred, err := ca.Issue(name, daemon.RoleOf(s, name))
			if err == nil {
				err = cred.Save(filepath.Join(folder, credentialsFolder))
			}
			if _, ok := errors.AsType[*qnet.Error](err); ok { // a name that can have no credentials
				return badConfig(err)
			}
			if err != nil {
				return err
			}
		}
		c := base
		c.Version, c.Scenario, c.Credentials = 1, scenarioFile, credentialsFolder
		switch process {
		case node.FabricName:
			c.Role = daemon.RoleFabric
		case node.ObserverName:
			c.Role, c.Faults, c.Trace = daemon.RoleObserver, nil, ""
		default:
			c.Role, c.Name, c.Faults = daemon.RoleNode, process, nil
		}
		config, err := toml.Marshal(c)
		if err != nil {
			return err
		}
		for _, f := range s.Files {
			path := filepath.Join(folder, f.Path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return err
			}
			if err := os.WriteFile(path, f.Data, 0o600); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(folder, scenarioFile), source, 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, configFile), config, 0o600); err != nil {
			return err
		}
	}
	return nil
}
