package node_test

import (
	"context"
	"fmt"
	"testing"

	"qstack/node"
	"qstack/node/qtest"
	"qstack/qnet"
	"qstack/qsocket"
)

// agree reports whether both ends' bits are to be equal when both measure a Bell
// state in a Pauli basis: ⟨XX⟩ = 1, ⟨YY⟩ = −1 and ⟨ZZ⟩ = 1 for Φ+; X on one half
// turns the signs of the latter two, Z those of the former two.
func agree(s qnet.BellLabel, b qsocket.Basis) bool {
	switch b {
	case qsocket.X:
		return s == qnet.PhiPlus || s == qnet.PsiPlus
	case qsocket.Y:
		return s == qnet.PhiMinus || s == qnet.PsiPlus
	}
	return s == qnet.PhiPlus || s == qnet.PhiMinus
}

// Pairs come in the Bell state that the socket asks for, over one link and over
// several, kept or measured at either end. Without noise there is no exception.
func TestAskedState(t *testing.T) {
	paulis := []qsocket.Basis{qsocket.X, qsocket.Y, qsocket.Z}
	for nodes := 2; nodes <= 4; nodes++ {
		for state := qnet.PhiPlus; state <= qnet.PsiMinus; state++ {
			t.Run(fmt.Sprintf("%d nodes %v", nodes, state), func(t *testing.T) {
				n := qtest.New(t, perfect(nodes, 2), node.Options{Seed: uint64(nodes)})
				tail := fmt.Sprint("n", nodes-1)
				// Each end keeps and measures in turn, all four combinations, in
				// each basis; bits by the name of the pair.
				bits := [2]map[qsocket.PairName]uint8{{}, {}}
				bases := map[qsocket.PairName]qsocket.Basis{}
				use := func(ctx context.Context, end int, c *qsocket.Conn) error {
					if c.State() != state {
						return fmt.Errorf("the socket has state %v", c.State())
					}
					for i := range 4 * len(paulis) {
						b := paulis[i/4]
						for range 5 {
							if i>>end&1 == 1 {
								o, err := c.Measure(ctx, 2, qsocket.FixedBasis(b))
								if err != nil {
									return err
								}
								for k := range o.Len() {
									bits[end][o.Name(k)], bases[o.Name(k)] = o.Bit[k], b
									if o.Label[k] != state {
										return fmt.Errorf("measured a pair as %v", o.Label[k])
									}
								}
								continue
							}
							pairs, err := c.Keep(ctx, 2)
							if err != nil {
								return err
							}
							for _, p := range pairs {
								bit, err := p.Qubit.Measure(ctx, b)
								if err != nil {
									return err
								}
								bits[end][p.Name], bases[p.Name] = bit, b
								if p.Label != state {
									return fmt.Errorf("kept a pair as %v", p.Label)
								}
							}
						}
					}
					return nil
				}
				n.Go(tail, func(ctx context.Context, q *qsocket.Node) error {
					l, err := q.Listen(ctx, ":7")
					if err != nil {
						return err
					}
					defer l.Close()
					n.Go("n0", func(ctx context.Context, q *qsocket.Node) error {
						c, err := q.Dial(ctx, tail+":7", qsocket.Contract{State: state})
						if err != nil {
							return err
						}
						defer c.Close()
						return use(ctx, 0, c)
					})
					c, err := l.Accept(ctx)
					if err != nil {
						return err
					}
					defer c.Close()
					return use(ctx, 1, c)
				})
				n.Run()
				if len(bits[0]) != 120 || len(bits[1]) != 120 {
					t.Fatalf("%d and %d pairs", len(bits[0]), len(bits[1]))
				}
				for name, bit := range bits[0] {
					other, ok := bits[1][name]
					if !ok {
						t.Fatalf("pair %v is known at one end only", name)
					}
					if (bit == other) != agree(state, bases[name]) {
						t.Fatalf("pair %v: bits %d and %d", name, bit, other)
					}
				}
			})
		}
	}
}

// A state that there is not is refused.
func TestAskedStateUnknown(t *testing.T) {
	n := qtest.New(t, perfect(2, 1), node.Options{})
	n.Go("n0", func(ctx context.Context, q *qsocket.Node) error {
		_, err := q.Dial(ctx, "n1:7", qsocket.Contract{State: 4})
		if want := "dial n1:7: BellLabel(4) is not one of the four Bell states"; qnet.CodeOf(err) != qnet.ErrInvalid || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		return nil
	})
	n.Run()
}
