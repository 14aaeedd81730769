package node_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"qstack/node"
	"qstack/node/scenario"
	"qstack/physical/herald"
	"qstack/qnet"
	"qstack/qnet/event"
)

// nv returns a scenario of two NV centres.
func nv(t *testing.T, preset, keys string) *scenario.Scenario {
	t.Helper()
	text := strings.ReplaceAll(`version = 1
[network]
name = "nv"
[hardware.nv]
preset = "PRESET"
[heralding.nv]
preset = "PRESET"
`, "PRESET", preset) + keys + `
[[nodes]]
name = "alice"
hardware = "nv"
[[nodes]]
name = "bob"
hardware = "nv"
[[links]]
nodes = ["alice", "bob"]
heralding = "nv"
`
	s, err := scenario.Parse("nv.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A link with operating points has, at each, the model and the dephasing of the
// preset with that bright-state population, and its network goes by the point
// with the highest fidelity.
func TestOperatingPoints(t *testing.T) {
	alphas := []float64{0.05, 0.1, 0.3}
	s := nv(t, "nv-ql2020", "alphas = [0.05, 0.1, 0.3]")
	p, err := node.NewPlan(s)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := p.FabricConfig()
	if err != nil {
		t.Fatal(err)
	}
	models, err := node.Models(&s.Links[0].Heralding)
	if err != nil {
		t.Fatal(err)
	}
	ends := p.LinkEnds(0)
	if k := cfg.Links[0]; len(k.Points) != 3 || k.Model != nil || !k.Pipelined || len(models) != 3 || len(ends[0].Points) != 3 {
		t.Fatalf("link %+v, %d models, end %+v", k, len(models), ends[0])
	}
	for i, alpha := range alphas {
		single := nv(t, "nv-ql2020", fmt.Sprintf("set = { alpha = %g }", alpha))
		one, err := node.NewPlan(single)
		if err != nil {
			t.Fatal(err)
		}
		alone, err := one.FabricConfig()
		if err != nil {
			t.Fatal(err)
		}
		want, got := alone.Links[0], cfg.Links[0].Points[i]
		if want.Points != nil || want.Model == nil || got.Model != want.Model || got.DephasingA != want.DephasingA || got.DephasingB != want.DephasingB || got.DephasingA == 0 {
			t.Errorf("α = %g: %+v, want as in %+v", alpha, got, want)
		}
		if models[i] != want.Model {
			t.Errorf("α = %g: model %+v", alpha, models[i])
		}
		point, without := ends[0].Points[i], one.LinkEnds(0)[0].Points[0]
		if point.Name != fmt.Sprintf("alpha=%g", alpha) || point.Probability != want.Model.SuccessProbability() || point.Fidelity != herald.Fidelity(want.Model) || len(point.Heralds) != 2 {
			t.Errorf("α = %g: point %+v", alpha, point)
		}
		if without.Name != "" || without.Probability != point.Probability {
			t.Errorf("α = %g: point %+v of a link that has one", alpha, without)
		}
		if k := p.Topology.Links[0]; i == 0 && (k.Weights != one.Topology.Links[0].Weights || k.PairTime != one.Topology.Links[0].PairTime || p.Topology.Nodes[0].Spec.AttemptDephasing[1] != want.DephasingA) {
			t.Errorf("the network goes by %+v, want %+v as of the best point", k, one.Topology.Links[0])
		}
	}
	// What A. Dahlberg et al., SIGCOMM (2019), arXiv:1903.09778, take for α = 0.1.
	if got := herald.OnlyHeralding(models[1]).SuccessProbability(); math.Abs(got/8.146238e-5-1) > 1e-6 {
		t.Errorf("by the estimator of heralding alone %v succeed", got)
	}

	// A fault nobody was told of reaches all points.
	f, err := scenario.ParseFault("visibility=0.5")
	if err != nil {
		t.Fatal(err)
	}
	if cfg, err = p.FabricConfig(f); err != nil {
		t.Fatal(err)
	}
	for i, at := range cfg.Links[0].Points {
		if v := at.Model.(herald.SingleClick).Visibility; v != 0.5 {
			t.Errorf("point %d: visibility %v", i, v)
		}
	}

	// Points that a program has made are checked like those of a file.
	made := *s
	made.Links = append([]scenario.Link(nil), s.Links...)
	made.Links[0].Heralding.Alphas = []float64{0.1, 0.05}
	if err := made.Validate(); err == nil || !strings.Contains(err.Error(), "links[0].heralding.alphas[1]: must be above the one before it, 0.1") {
		t.Errorf("descending: %v", err)
	}
	made.Links[0].Heralding = scenario.Heralding{Model: scenario.Ideal, AttemptRate: 1e5, Probability: 0.5, Fidelity: 1, Alphas: alphas}
	if _, err := node.NewPlan(&made); qnet.CodeOf(err) != qnet.ErrInvalid || !strings.Contains(err.Error(), "link alice-bob: a model ideal has no bright-state population") {
		t.Errorf("an ideal link: %v", err)
	}
}

// An attempt whose pair is kept awaits its herald, where others do not: 2 µs of
// initialisation and 145.1 µs of travel are 15 cycles of 10.12 µs.
func TestStride(t *testing.T) {
	for preset, want := range map[string]uint64{"nv-ql2020": 15, "nv-lab": 1} {
		p, err := node.NewPlan(nv(t, preset, ""))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			if got := p.LinkEnds(i)[0].Stride; got != want {
				t.Errorf("%s: a stride of %d cycles, want %d", preset, got, want)
			}
		}
	}
	s := perfect(2, 1)
	s.Links[0].Heralding.AttemptRate = 1e6 // of its own model it is said that attempts wait
	p, err := node.NewPlan(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.LinkEnds(0)[0].Stride; got != 1 {
		t.Errorf("a stride of %d cycles of a link that is not pipelined", got)
	}
}

// A network with operating points starts.
func TestOperatingPointsRun(t *testing.T) {
	loop := event.NewVirtual()
	defer loop.Close()
	n, err := node.NewNetwork(nv(t, "nv-lab", "alphas = [0.1, 0.2]"), loop, node.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if k := n.Fabric.Link(node.LinkID(0)); k.Points() != 2 {
		t.Errorf("%d points", k.Points())
	}
}
