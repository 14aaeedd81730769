package fabric

import (
	"time"

	"qstack/physical"
	"qstack/physical/state"
	"qstack/qnet"
)

// kind is what all communication qubits, or all storage qubits, of a node have
// in common.
type kind struct {
	name                 string
	init, gate1, readout time.Duration
	indirect             bool // initialised and read out through a communication qubit
	decay                state.Decay
	noise                physical.QubitNoise
}

// kinds returns what is true of communication and of storage qubits.
func (n *NodeConfig) kinds() (communication, storage kind) {
	s := &n.Spec
	communication = kind{name: "communication", init: s.Init, gate1: s.Gate1, readout: s.Readout, decay: n.Communication, noise: n.Noise.QubitNoise}
	storage = communication
	storage.name, storage.decay = "storage", n.Storage
	if m := s.Memory; m != nil {
		storage.init, storage.gate1, storage.readout, storage.indirect = m.Init, m.Gate1, m.Readout, m.Indirect
		storage.noise = n.Noise.Memory
	}
	return communication, storage
}

// measure returns how long a measurement in basis b takes.
func (k *kind) measure(b qnet.Basis) time.Duration {
	if b == qnet.BasisZ {
		return k.readout
	}
	return k.gate1 + k.readout
}

// bsm is a Bell-state measurement of two kinds of qubits.
type bsm struct {
	duration time.Duration
	noise    state.Imperfection
}

// bsm returns the Bell-state measurement of a and b. What is read out through
// the other qubit is read out after it: that one is initialised again, the bit is
// copied to it by a gate of two qubits, and read.
func (n *NodeConfig) bsm(a, b, communication *kind) bsm {
	s := &n.Spec
	readout := max(a.readout, b.readout)
	errA, errB := a.noise.ReadoutError, b.noise.ReadoutError
	if a.indirect || b.indirect {
		readout = 2*communication.readout + communication.init + s.Gate2
		flip := (1 - (1-communication.noise.InitDepolarising)*(1-n.Noise.Gate2Depolarising)) / 2
		copied := flipped(communication.noise.ReadoutError, flip)
		if a.indirect {
			errA = copied
		} else {
			errB = copied
		}
	}
	return bsm{
		duration: s.Gate2 + a.gate1 + readout,
		noise: state.Imperfection{
			Gate1:    state.Noise{Depolarise: a.noise.Gate1Depolarising},
			Gate2:    state.Noise{Depolarise: n.Noise.Gate2Depolarising, Dephase: n.Noise.Gate2Dephasing},
			ReadoutA: state.Readout{Flip0: errA[0], Flip1: errA[1]},
			ReadoutB: state.Readout{Flip0: errB[0], Flip1: errB[1]},
		},
	}
}

// flipped returns the errors of a read-out before which the bit is flipped with
// probability p.
func flipped(r physical.ReadoutError, p float64) physical.ReadoutError {
	return physical.ReadoutError{(1-p)*r[0] + p*(1-r[1]), (1-p)*r[1] + p*(1-r[0])}
}
