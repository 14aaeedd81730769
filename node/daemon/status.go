package daemon

import (
	"math"

	"qstack/link"
	"qstack/network"
	"qstack/transport"
)

// Status is what a process says of itself.
type Status struct {
	Role      string  `json:"role"` // node or fabric
	Name      string  `json:"name"`
	ID        string  `json:"id"`
	PID       int     `json:"pid"`
	Network   string  `json:"network"`
	Version   string  `json:"version"`
	UptimeS   float64 `json:"uptime_s"`
	EmulatedS float64 `json:"emulated_s"` // time of the fabric
	Ready     bool    `json:"ready"`      // all peers are up

	Peers []Peer `json:"peers"`

	// Of a node.
	Fabric   string    `json:"fabric,omitempty"` // why it can not be used
	Links    []Link    `json:"links,omitempty"`
	Circuits []Circuit `json:"circuits,omitempty"`
	Sockets  []Socket  `json:"sockets,omitempty"`
	Ports    []Port    `json:"ports,omitempty"`
	Sessions int       `json:"sessions,omitempty"`
	Held     int       `json:"held,omitempty"`    // qubits that programs have
	Storage  int       `json:"storage,omitempty"` // storage qubits of the hardware
	Pairs    uint64    `json:"pairs"`             // end-to-end pairs delivered
	Swaps    uint64    `json:"swaps"`

	// Of the fabric.
	Qubits []Qubit `json:"qubits,omitempty"` // that are not free
}

// Peer is a neighbour, a station or the fabric.
type Peer struct {
	Name string `json:"name"`
	Up   bool   `json:"up"`
}

// Link is one end of a link.
type Link struct {
	Name     string `json:"name"`
	Peer     string `json:"peer"`
	Down     string `json:"down,omitempty"` // why
	Requests int    `json:"requests"`
	Wanted   uint64 `json:"wanted"` // pairs that this end would take now
	Lanes    int    `json:"lanes"`
	Open     int    `json:"open"` // lanes that attempt
	Held     int    `json:"held"` // lanes whose qubit is in use
	Pairs    uint64 `json:"pairs"`
	Expired  uint64 `json:"expired"`
	Tested   uint64 `json:"tested,omitempty"` // pairs that were test rounds
	// Rejected are the frames that were malformed, unexpected or too many.
	Rejected uint64      `json:"rejected,omitempty"`
	Points   []LinkPoint `json:"points"`
}

// LinkPoint is what a link layer expects of pairs that are kept, at one operating
// point of the link's heralding.
type LinkPoint struct {
	Name     string  `json:"name,omitempty"`
	Fidelity float64 `json:"fidelity"`
	// What test rounds say: the truth is not below Lower, nor above Upper, each with
	// the Confidence.
	Rounds     float64 `json:"rounds,omitempty"`
	Measured   float64 `json:"measured,omitempty"`
	Lower      float64 `json:"lower,omitempty"`
	Upper      float64 `json:"upper,omitempty"`
	Confidence float64 `json:"confidence,omitempty"`
}

// Circuit is a circuit that passes or ends here.
type Circuit struct {
	ID       string `json:"id"`
	Head     string `json:"head"`
	Tail     string `json:"tail"`
	Up       bool   `json:"up"`
	Requests int    `json:"requests"`
	Pairs    uint64 `json:"pairs"`   // link pairs received
	Waiting  int    `json:"waiting"` // halves that wait for a partner
	Parked   int    `json:"parked"`  // TRACKs that wait for a swap
}

// Socket is an EPR socket of a program.
type Socket struct {
	Program string        `json:"program"`
	Peer    string        `json:"peer"`
	Port    uint16        `json:"port"`
	Dialled bool          `json:"dialled"`
	State   string        `json:"state"`
	Circuit string        `json:"circuit,omitempty"`
	Here    []SocketQuery `json:"here,omitempty"`  // what this program has asked for
	There   []SocketQuery `json:"there,omitempty"` // what the other has, and nothing here matches
}

// SocketQuery is what a program has asked for on a socket.
type SocketQuery struct {
	Kind    string `json:"kind"`
	Pairs   uint64 `json:"pairs"`
	Got     uint64 `json:"got"`
	Matched bool   `json:"matched"`
}

// Port is a port that a program listens on.
type Port struct {
	Program string `json:"program"`
	Port    uint16 `json:"port"`
}

// Qubit is a qubit of the fabric that is not free.
type Qubit struct {
	Node   string  `json:"node"`
	Use    string  `json:"use"`
	Link   uint32  `json:"link,omitempty"`
	SinceS float64 `json:"since_s"`
}

func links(in []link.Status) []Link {
	var out []Link
	for _, s := range in {
		k := Link{Name: s.Name, Peer: s.Peer, Requests: s.Requests, Wanted: s.Wanted, Lanes: s.Lanes, Open: s.Open, Held: s.Held,
			Pairs: s.Pairs, Expired: s.Expired, Tested: s.Tested,
			Rejected: s.Frames.Malformed + s.Frames.Unexpected + s.Frames.Limited, Points: []LinkPoint{}}
		for _, q := range s.Quality {
			p := LinkPoint{Name: q.Name, Fidelity: q.Fidelity}
			if !math.IsNaN(q.Measured) {
				p.Rounds, p.Measured, p.Lower, p.Upper, p.Confidence = q.Rounds, q.Measured, q.Lower, q.Upper, q.Confidence
			}
			k.Points = append(k.Points, p)
		}
		if s.Down != nil {
			k.Down = s.Down.Error()
		}
		out = append(out, k)
	}
	return out
}

func circuits(in []network.Status) []Circuit {
	var out []Circuit
	for _, s := range in {
		out = append(out, Circuit{ID: s.ID.String(), Head: s.Head, Tail: s.Tail, Up: s.Up, Requests: s.Requests,
			Pairs: s.Pairs, Waiting: s.Waiting, Parked: s.Parked})
	}
	return out
}

func sockets(in []transport.SocketInfo) []Socket {
	queries := func(in []transport.RequestInfo) []SocketQuery {
		var out []SocketQuery
		for _, r := range in {
			out = append(out, SocketQuery{Kind: r.Kind.String(), Pairs: r.Pairs, Got: r.Got, Matched: r.Matched})
		}
		return out
	}
	var out []Socket
	for _, s := range in {
		k := Socket{Program: s.Program, Peer: s.Peer, Port: s.Port, Dialled: s.Head, State: s.State,
			Here: queries(s.Here), There: queries(s.There)}
		if s.Circuit != (network.CircuitID{}) {
			k.Circuit = s.Circuit.String()
		}
		out = append(out, k)
	}
	return out
}

// Problem is one reason why a pair is not coming.
type Problem struct {
	Where string `json:"where"`
	What  string `json:"what"`
	Do    string `json:"do"`
}
