package daemon

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"qstack/link"
	"qstack/node"
	"qstack/node/scenario"
	"qstack/physical/fabric"
	"qstack/physical/oracle"
	"qstack/physical/remote"
	"qstack/qnet"
	"qstack/qnet/control/quic"
	"qstack/qnet/event"
	"qstack/qnet/pki"
	"qstack/qnet/trace"
	"qstack/qsocket/local"
)

// Daemon is one running process of a network.
type Daemon struct {
	cfg   *Config
	log   *slog.Logger
	plan  *node.Plan
	loop  *event.Real
	start time.Time
	trace *trace.Writer
	file  *os.File // of the trace

	endpoints []*quic.Endpoint // the first is the daemon's own, the others its stations'
	control   *controlServer
	programs  *local.Server // of a node

	// Used on the loop.
	watched  []qnet.NodeID // peers that must be up for the daemon to be ready
	names    map[qnet.NodeID]string
	stack    *node.Stack // of a node
	device   *remote.Client
	hardware error          // why the fabric can not be used, once it was lost
	world    *fabric.Fabric // of the fabric
}

// RoleOf returns the role of the certificate of name in a network.
func RoleOf(s *scenario.Scenario, name string) pki.Role {
	switch name {
	case node.FabricName:
		return pki.RoleFabric
	case node.ObserverName:
		return pki.RoleOracle
	}
	for i := range s.Links {
		if name == node.StationName(&s.Links[i]) {
			return pki.RoleStation
		}
	}
	return pki.RoleNode
}

// Start runs the daemon that cfg describes. It serves until Close. When what cfg
// refers to is wrong, such as its credentials, it fails with qnet.ErrInvalid or
// qnet.ErrAuth.
func Start(cfg *Config, log *slog.Logger) (_ *Daemon, err error) {
	// The scenario's seed is for runs that are to be repeated. A process of a real
	// network draws its own: what it chooses in private nobody can foretell.
	s := *cfg.scenario
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	s.Seed = binary.BigEndian.Uint64(seed[:])
	plan, err := node.NewPlan(&s)
	if err != nil {
		return nil, err
	}
	plan.Log = log
	d := &Daemon{cfg: cfg, log: log, plan: plan, names: plan.Names(), start: time.Now()}
	d.loop = event.NewReal(event.RealConfig{Dilation: cfg.scenario.Dilation})
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if cfg.Trace != "" {
		f, err := os.OpenFile(cfg.path(cfg.Trace), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666) // as a pipe, too, it ends with its reader
		if err != nil {
			return nil, err
		}
		d.trace, d.file = trace.NewWriter(f), f
	}
	dir := cfg.RuntimeDir()
	switch cfg.Role {
	case RoleFabric:
		err = d.startFabric()
	case RoleNode:
		err = d.startNode(dir)
	default:
		err = qnet.Errorf(qnet.ErrInvalid, "role: an %s is no process of the network; it asks with \"qnoded observe\"", cfg.Role)
	}
	if err != nil {
		return nil, err
	}
	for _, e := range d.endpoints {
		e.Start()
	}
	d.control, err = serveControl(ControlPath(dir, d.name()), d)
	if err != nil {
		return nil, err
	}
	log.Info("running", "role", cfg.Role, "node", d.name(), "network", cfg.scenario.Name, "address", d.endpoints[0].Addr().String())
	return d, nil
}

func (d *Daemon) name() string { return d.cfg.process() }

func (d *Daemon) tracer(name string) *trace.Tracer {
	if d.trace == nil {
		return nil
	}
	return trace.New(d.trace, name)
}

// onLoop runs f on the loop and waits for it.
func (d *Daemon) onLoop(f func()) error {
	done := make(chan struct{})
	if !d.loop.Post(func() { f(); close(done) }) {
		return qnet.ErrClosed
	}
	<-done
	return nil
}

// listen makes the endpoint of one of the process's identities.
func (d *Daemon) listen(name string, peers []quic.Peer, offset func() time.Duration) (*quic.Endpoint, error) {
	cred, err := pki.Load(d.cfg.path(d.cfg.Credentials), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, qnet.Errorf(qnet.ErrInvalid, "there are no credentials of %s: %v; make them with \"qnoded init\"", name, err)
	}
	if err != nil {
		return nil, err
	}
	if got, want := cred.Identity().Realm, d.cfg.scenario.Realm; got != want {
		return nil, qnet.Errorf(qnet.ErrAuth, "the certificate of %s is for the realm %s, the network's is %s; take those that were made for this network", name, got, want)
	}
	e, err := quic.New(quic.Config{Credential: cred, Loop: d.loop, Listen: d.cfg.Addresses[name], Peers: peers,
		Logger: d.log, Tracer: d.tracer(name), Offset: offset})
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return nil, fmt.Errorf("address of %s: %w; it must be one of this machine, with a port that is free", name, err)
	}
	if err != nil {
		return nil, err
	}
	d.endpoints = append(d.endpoints, e)
	return e, nil
}

func (d *Daemon) peer(name string, delay time.Duration, neighbour bool) quic.Peer {
	return quic.Peer{Name: name, ID: d.plan.ID(name), Addr: d.cfg.Addresses[name], Delay: delay, Neighbour: neighbour}
}

// startFabric runs the emulated world, its server, and the station of every
// link, all on one loop: its clock is the time of the network.
func (d *Daemon) startFabric() error {
	s := d.cfg.scenario
	cfg, err := d.plan.FabricConfig(d.cfg.faults...)
	if err != nil {
		return err
	}
	var id [4]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	cfg.ID = max(1, binary.BigEndian.Uint32(id[:])) // a restart makes every old handle an error
	cfg.EarlyResults = time.Duration(float64(node.EarlyResults) / s.Dilation)
	nodes := []quic.Peer{d.peer(node.ObserverName, 0, false)}
	for i := range s.Nodes {
		nodes = append(nodes, d.peer(s.Nodes[i].Name, 0, true))
		d.watched = append(d.watched, d.plan.ID(s.Nodes[i].Name))
	}
	ep, err := d.listen(node.FabricName, nodes, nil)
	if err != nil {
		return err
	}
	var stations []*quic.Endpoint
	for i := range s.Links {
		k := &s.Links[i]
		delay := s.HalfDelay(k)
		e, err := d.listen(node.StationName(k), []quic.Peer{d.peer(s.Nodes[k.A].Name, delay, true), d.peer(s.Nodes[k.B].Name, delay, true)}, nil)
		if err != nil {
			return err
		}
		stations = append(stations, e)
	}
	var loopErr error
	err = d.onLoop(func() {
		tr := d.tracer(node.FabricName)
		if d.world, loopErr = fabric.New(cfg, d.loop, tr); loopErr != nil {
			return
		}
		remote.NewServer(d.world, ep, d.loop, tr)
		oracle.NewServer(d.world, d.plan.ID(node.ObserverName), ep, d.loop, tr)
		for i, e := range stations {
			name := node.StationName(&s.Links[i])
			link.NewStation(d.plan.StationConfig(i), d.world.Link(node.LinkID(i)), e, d.loop, d.tracer(name))
		}
	})
	return errors.Join(err, loopErr)
}

// startNode runs the layers of one node upon the fabric.
func (d *Daemon) startNode(dir string) error {
	s := d.cfg.scenario
	i, err := s.NodeIndex(d.cfg.Name)
	if err != nil {
		return err
	}
	self := d.plan.ID(d.cfg.Name)
	var peers []quic.Peer
	watch := func(p quic.Peer) {
		peers = append(peers, p)
		d.watched = append(d.watched, p.ID)
	}
	watch(d.peer(node.FabricName, 0, true))
	neighbours := map[int]bool{i: true}
	for j := range s.Links {
		k := &s.Links[j]
		other := k.B
		switch i {
		case k.A:
		case k.B:
			other = k.A
		default:
			continue
		}
		neighbours[other] = true
		watch(d.peer(s.Nodes[other].Name, 2*s.HalfDelay(k), true))
		watch(d.peer(node.StationName(k), s.HalfDelay(k), true))
	}
	for j := range s.Nodes {
		if !neighbours[j] { // reached on demand, end to end
			delay, ok := d.plan.Distance(self, d.plan.ID(s.Nodes[j].Name))
			if ok {
				peers = append(peers, d.peer(s.Nodes[j].Name, delay, false))
			}
		}
	}
	ep, err := d.listen(d.cfg.Name, peers, func() time.Duration { return d.device.Now().Sub(d.loop.Now()) })
	if err != nil {
		return err
	}
	err = d.onLoop(func() {
		tr := d.tracer(d.cfg.Name)
		d.device = remote.NewClient(remote.Config{Name: d.cfg.Name, Fabric: d.plan.ID(node.FabricName), FabricName: node.FabricName,
			Spec: d.plan.Topology.Nodes[i].Spec}, ep, d.loop, tr)
		d.device.OnChange(d.hardwareChanged)
		d.stack = node.NewStack(d.plan, i, d.device, ep, d.loop, tr)
	})
	if err != nil {
		return err
	}
	d.programs, err = local.Serve(local.Config{Path: ProgramPath(dir, d.cfg.Name), Layer: d.stack.Transport, Loop: d.loop,
		Dilation: s.Dilation, Log: d.log})
	return err
}

// hardwareChanged is told that the fabric was lost, or is there (again).
func (d *Daemon) hardwareChanged(err error) {
	d.hardware = err
	if err != nil {
		d.log.Warn("the quantum hardware is gone", "node", d.name(), "err", err)
	} else {
		d.log.Info("the quantum hardware is there", "node", d.name())
	}
}

// Close stops the daemon: programs lose their sessions, peers their
// connections. It waits for everything.
func (d *Daemon) Close() error {
	var errs []error
	if d.control != nil {
		errs = append(errs, d.control.Close())
	}
	if d.programs != nil {
		errs = append(errs, d.programs.Close())
	}
	if d.stack != nil {
		errs = append(errs, d.onLoop(d.stack.Transport.Close))
	}
	for _, e := range d.endpoints {
		errs = append(errs, e.Close())
	}
	errs = append(errs, d.loop.Close())
	if d.trace != nil {
		errs = append(errs, d.trace.Close(), d.file.Close())
	}
	return errors.Join(errs...)
}

// Status returns what the daemon is doing.
func (d *Daemon) Status(ctx context.Context) (*Status, error) {
	got := make(chan *Status, 1)
	if !d.loop.Post(func() { got <- d.status() }) {
		return nil, qnet.ErrClosed
	}
	select {
	case st := <-got:
		return st, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// status is Status on the loop.
func (d *Daemon) status() *Status {
	st := &Status{Role: d.cfg.Role, Name: d.name(), ID: d.plan.ID(d.name()).String(), PID: os.Getpid(), Network: d.cfg.scenario.Name,
		Version: Version(), UptimeS: time.Since(d.start).Seconds(), Ready: true, Peers: []Peer{}}
	for _, id := range d.watched {
		up := d.endpoints[0].Up(id)
		st.Peers = append(st.Peers, Peer{Name: d.names[id], Up: up})
		st.Ready = st.Ready && up
	}
	slices.SortFunc(st.Peers, func(a, b Peer) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) })
	if d.world != nil {
		st.EmulatedS = d.loop.Now().Seconds()
		for _, a := range d.world.Ledger() {
			st.Qubits = append(st.Qubits, Qubit{Node: a.Name, Use: a.Use.String(), Link: uint32(a.Link), SinceS: a.Since.Seconds()})
		}
	}
	if d.stack != nil {
		st.EmulatedS = d.device.Now().Seconds()
		if d.hardware != nil {
			st.Fabric = d.hardware.Error()
		}
		st.Ready = st.Ready && d.device.Attached()
		st.Links = links(d.stack.Link.Status())
		st.Circuits = circuits(d.stack.Network.Status())
		st.Sockets = sockets(d.stack.Transport.Sockets())
		t := d.stack.Transport.Stats()
		st.Sessions, st.Held = t.Sessions, t.Qubits
		st.Storage = d.device.Spec().Storage
		n := d.stack.Network.Counters()
		st.Pairs, st.Swaps = n.Delivered, n.Swapped
	}
	return st
}

// Version returns the version of the program as it was built.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v
}

// RuntimeDir returns the folder of the sockets of a network, unless its
// processes are told another.
func RuntimeDir(network string) string { return filepath.Join(local.Dir(), network) }

// CheckSocket returns an error if path is too long for a unix socket.
func CheckSocket(path string) error {
	if len(path) > local.MaxPath {
		return fmt.Errorf("the path %s is longer than the %d bytes that a unix socket may have", path, local.MaxPath)
	}
	return nil
}

// ProgramPath returns the socket for programs of the node called name, in the
// folder of a network's sockets.
func ProgramPath(dir, name string) string { return filepath.Join(dir, name+".sock") }

// ControlPath returns the control socket of the process called name, in the
// folder of a network's sockets.
func ControlPath(dir, name string) string { return filepath.Join(dir, name+".ctl") }
