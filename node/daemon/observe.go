package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"qstack/node"
	"qstack/physical"
	"qstack/physical/herald"
	"qstack/physical/oracle"
	"qstack/qnet"
	"qstack/qnet/control/quic"
	"qstack/qnet/event"
	"qstack/qnet/pki"
)

// Snapshot is what an observer sees of a fabric.
type Snapshot struct {
	Network string  `json:"network"`
	TimeS   float64 `json:"time_s"` // of the ledger, in fabric time
	// Qubits are all that are not free.
	Qubits []SeenQubit `json:"qubits"`
	// Pairs are the entangled clusters of two qubits.
	Pairs []SeenPair `json:"pairs"`
}

// SeenQubit is an allocated qubit.
type SeenQubit struct {
	Qubit  string  `json:"qubit"`
	Node   string  `json:"node"`
	Use    string  `json:"use"`
	Link   string  `json:"link,omitempty"`
	Lane   uint32  `json:"lane"`
	SinceS float64 `json:"since_s"`
	// Joint is how many qubits share its state, itself included; 0 without one.
	Joint int `json:"joint"`
}

// SeenPair is a cluster of two.
type SeenPair struct {
	A        string  `json:"a"`
	B        string  `json:"b"`
	Label    string  `json:"label"`    // the Bell state that it is closest to
	Fidelity float64 `json:"fidelity"` // to that, exactly
	TimeS    float64 `json:"time_s"`   // at this instant
}

// Observe asks the fabric of a network for what is allocated and the fidelity
// of all pairs. cfg is an observer's. Pairs that end meanwhile are left out.
func Observe(ctx context.Context, cfg *Config) (_ *Snapshot, err error) {
	if cfg.Role != RoleObserver {
		return nil, qnet.Errorf(qnet.ErrInvalid, "role: %q sees no states: take the configuration of the observer", cfg.Role)
	}
	plan, err := node.NewPlan(cfg.scenario)
	if err != nil {
		return nil, err
	}
	cred, err := pki.Load(cfg.path(cfg.Credentials), node.ObserverName)
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "there are no credentials of %s: %v; make them with \"qnoded init\"", node.ObserverName, err)
	}
	loop := event.NewReal(event.RealConfig{Dilation: cfg.scenario.Dilation})
	defer func() { err = errors.Join(err, loop.Close()) }()
	ep, err := quic.New(quic.Config{Credential: cred, Loop: loop, Logger: slog.New(slog.DiscardHandler),
		Peers: []quic.Peer{{Name: node.FabricName, ID: plan.ID(node.FabricName), Addr: cfg.Addresses[node.FabricName]}}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ep.Close()) }()
	o := &observation{plan: plan, done: make(chan error, 1), seen: &Snapshot{Network: cfg.scenario.Name, Qubits: []SeenQubit{}, Pairs: []SeenPair{}}}
	o.client = oracle.NewClient(plan.ID(node.FabricName), node.FabricName, ep, loop)
	ep.Start()
	if !loop.Post(func() { o.client.Ledger(o.ledger) }) {
		return nil, qnet.ErrClosed
	}
	select {
	case err = <-o.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	return o.seen, nil
}

// observation is a snapshot in the making. It is used on the loop.
type observation struct {
	plan   *node.Plan
	client *oracle.Client
	seen   *Snapshot
	pairs  [][2]oracle.Allocation // still to be asked for
	done   chan error             // takes the end
}

// ledger takes what is allocated.
func (o *observation) ledger(at qnet.Time, list []oracle.Allocation, err error) {
	if err != nil {
		o.done <- err
		return
	}
	o.seen.TimeS = at.Seconds()
	clusters := make(map[uint32][]oracle.Allocation)
	for _, a := range list {
		if a.Cluster > 0 {
			clusters[a.Cluster] = append(clusters[a.Cluster], a)
		}
	}
	names := o.plan.Names()
	for _, a := range list {
		q := SeenQubit{Qubit: a.Qubit.String(), Node: names[a.Node], Use: a.Use.String(), Lane: a.Lane, SinceS: a.Since.Seconds(), Joint: len(clusters[a.Cluster])}
		if i := int(a.Link) - 1; i >= 0 && i < len(o.plan.Scenario.Links) {
			q.Link = o.plan.Scenario.Links[i].Name
		}
		o.seen.Qubits = append(o.seen.Qubits, q)
		if c := clusters[a.Cluster]; len(c) == 2 && c[0].Qubit == a.Qubit {
			o.pairs = append(o.pairs, [2]oracle.Allocation{c[0], c[1]})
		}
	}
	o.next()
}

// next asks for the next pair.
func (o *observation) next() {
	if len(o.pairs) == 0 {
		o.done <- nil
		return
	}
	p := o.pairs[0]
	o.pairs = o.pairs[1:]
	o.client.Density([]physical.Qubit{p[0].Qubit, p[1].Qubit}, func(at qnet.Time, rho []complex128, err error) {
		switch {
		case errors.Is(err, qnet.ErrBadQubit): // measured meanwhile
		case err != nil:
			o.done <- err
			return
		default:
			rho := herald.State(rho)
			names, w := o.plan.Names(), rho.Weights()
			best := slices.Index(w[:], slices.Max(w[:]))
			o.seen.Pairs = append(o.seen.Pairs, SeenPair{A: names[p[0].Node], B: names[p[1].Node],
				Label: qnet.BellLabel(best).String(), Fidelity: w[best], TimeS: at.Seconds()})
		}
		o.next()
	})
}
