package transport

import (
	"qstack/network"
	"qstack/qnet"
)

// Network is what this layer asks of the network layer. Over adapts the real
// one.
type Network interface {
	// Setup sets a circuit up to dst and calls done once. The tail end is given
	// tag. h hears of the circuit from then on.
	Setup(dst qnet.NodeID, tag uint64, minFidelity float64, deadline qnet.Time, h CircuitHandler, done func(Circuit, error))
	// HandleIncoming makes f decide about circuits whose tail end is here.
	HandleIncoming(f func(c Circuit, tag uint64) (CircuitHandler, error))
}

// Circuit is one end of a circuit. *network.Circuit implements it, and its
// methods are described there.
type Circuit interface {
	ID() CircuitID
	Peer() qnet.NodeID
	Hops() int
	Lanes() int
	Full() error
	Estimate() network.Estimate
	Request(network.Request) error
	Cancel(id uint64)
	Close(qnet.Code)
}

// CircuitHandler hears what happens on one end of a circuit, as
// network.CircuitHandler does.
type CircuitHandler interface {
	Pair(network.Delivery)
	RequestDone(id uint64)
	Down(err error)
}

// Over returns l as this layer uses it.
func Over(l *network.Layer) Network { return over{l} }

type over struct{ *network.Layer }

func (o over) Setup(dst qnet.NodeID, tag uint64, minFidelity float64, deadline qnet.Time, h CircuitHandler, done func(Circuit, error)) {
	o.Layer.Setup(dst, tag, minFidelity, deadline, handler{h}, func(c *network.Circuit, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		done(c, nil)
	})
}

func (o over) HandleIncoming(f func(c Circuit, tag uint64) (CircuitHandler, error)) {
	o.Layer.HandleIncoming(func(c *network.Circuit, tag uint64) (network.CircuitHandler, error) {
		h, err := f(c, tag)
		if err != nil {
			return nil, err
		}
		return handler{h}, nil
	})
}

// handler drops the circuit from the calls: a handler here serves one.
type handler struct{ h CircuitHandler }

func (h handler) Pair(_ *network.Circuit, d network.Delivery) { h.h.Pair(d) }
func (h handler) RequestDone(_ *network.Circuit, id uint64)   { h.h.RequestDone(id) }
func (h handler) Down(_ *network.Circuit, err error)          { h.h.Down(err) }
