package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"

	"qstack/node"
	"qstack/node/scenario"
	"qstack/qnet"
)

// Config is the file that `qnoded run` (for an observer, `qnoded observe`) reads
// and `qnoded init` writes. Paths are relative to the file.
type Config struct {
	Version int `toml:"version" comment:"of this format"`
	// Scenario is the file of the network.
	Scenario string `toml:"scenario" comment:"file of the network"`
	// Role is "node", "fabric" or "observer".
	Role string `toml:"role" comment:"node, fabric: the emulated world with the stations of all links, or observer: who may see its states"`
	// Name is the node's; the others have none.
	Name string `toml:"name,omitempty" comment:"of the node"`
	// Credentials is the folder of the certificates and keys.
	Credentials string `toml:"credentials" comment:"folder of certificates and keys"`
	// Runtime is the folder of the unix sockets; by default
	// $XDG_RUNTIME_DIR/qnet/<network>, or the same in the temporary folder.
	Runtime string `toml:"runtime,omitempty" comment:"folder of the unix sockets"`
	// Faults degrade the fabric alone, as in readout=0.05.
	Faults []string `toml:"faults,omitempty" comment:"fabric only: hardware that is worse than it claims"`
	// Trace is a file that receives every event as a JSON line.
	Trace string `toml:"trace,omitempty" comment:"file for every event, one JSON line each"`
	// Addresses are the UDP addresses, host:port, of everybody in the network by
	// name: nodes, stations as <link>.station, and the fabric as world.fabric. A
	// process listens at its own.
	Addresses map[string]string `toml:"addresses" comment:"UDP addresses by name: nodes, <link>.station, world.fabric"`

	dir      string
	scenario *scenario.Scenario
	faults   []scenario.Fault
}

// Roles of a process.
const (
	RoleNode     = "node"
	RoleFabric   = "fabric"
	RoleObserver = "observer"
)

// LoadConfig reads and checks a configuration file. Errors carry
// qnet.ErrInvalid and name file, line and key.
func LoadConfig(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "configuration: %v", err)
	}
	return ParseConfig(path, data)
}

// ParseConfig checks the configuration in data; path says where it stands.
func ParseConfig(path string, data []byte) (*Config, error) {
	c := &Config{dir: filepath.Dir(path)}
	d := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%s%s", path, describe(err))
	}
	if err := c.check(); err != nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "%s: %v", path, err)
	}
	return c, nil
}

// describe says where in the file a decoding error is.
func describe(err error) string {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		row, col := strict.Errors[0].Position()
		return fmt.Sprintf(":%d:%d: unknown key %v", row, col, strict.Errors[0].Key())
	}
	var dec *toml.DecodeError
	if errors.As(err, &dec) {
		row, col := dec.Position()
		return fmt.Sprintf(":%d:%d: %v", row, col, dec)
	}
	return ": " + err.Error()
}

func (c *Config) check() error {
	if c.Version != 1 {
		return fmt.Errorf("version: %d is not supported: write version = 1", c.Version)
	}
	s, err := scenario.Load(c.path(c.Scenario))
	if err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	c.scenario = s
	switch c.Role {
	case RoleFabric, RoleObserver:
		if c.Name != "" {
			return fmt.Errorf("name: the %s has none, but %q is given", c.Role, c.Name)
		}
	case RoleNode:
		if _, err := s.NodeIndex(c.Name); err != nil {
			return fmt.Errorf("name: %w", err)
		}
	default:
		return fmt.Errorf("role: %q is unknown: write node, fabric or observer", c.Role)
	}
	if c.Role != RoleFabric && len(c.Faults) > 0 {
		return errors.New("faults: only the fabric has them")
	}
	for _, f := range c.Faults {
		fault, err := scenario.ParseFault(f)
		if err != nil {
			return fmt.Errorf("faults: %w", err)
		}
		if _, err := fault.Apply(s); err != nil {
			return fmt.Errorf("faults: %w", err)
		}
		c.faults = append(c.faults, fault)
	}
	for _, name := range Names(s) {
		a, ok := c.Addresses[name]
		if !ok {
			return fmt.Errorf("addresses: %s is missing", name)
		}
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("addresses: %s: %q is not host:port", name, a)
		}
	}
	if n := len(c.Addresses) - len(Names(s)); n > 0 {
		return fmt.Errorf("addresses: %d of them belong to nobody in network %s", n, s.Name)
	}
	if err := CheckSocket(ProgramPath(c.RuntimeDir(), c.process())); err != nil {
		return fmt.Errorf("runtime: %w: give a shorter folder", err)
	}
	return nil
}

// process returns the name of the process.
func (c *Config) process() string {
	switch c.Role {
	case RoleFabric:
		return node.FabricName
	case RoleObserver:
		return node.ObserverName
	}
	return c.Name
}

// RuntimeDir returns the folder of the process's sockets.
func (c *Config) RuntimeDir() string {
	if c.Runtime == "" {
		return RuntimeDir(c.scenario.Name)
	}
	return c.path(c.Runtime)
}

func (c *Config) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

// Names returns the names of all identities of a network that have an address:
// the fabric, the stations and the nodes.
func Names(s *scenario.Scenario) []string {
	names := []string{node.FabricName}
	for i := range s.Links {
		names = append(names, node.StationName(&s.Links[i]))
	}
	for i := range s.Nodes {
		names = append(names, s.Nodes[i].Name)
	}
	return names
}
