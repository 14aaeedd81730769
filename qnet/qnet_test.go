package qnet_test

import (
	"fmt"
	"math"
	"math/bits"
	"testing"
	"time"

	"qstack/qnet"
)

// TestNodeIDGolden has the values of printf demo/alice | sha256sum and so on.
func TestNodeIDGolden(t *testing.T) {
	for _, c := range []struct {
		realm, name string
		want        qnet.NodeID
		text        string
	}{
		{"demo", "alice", 0x16ac9c62918515cd, "16ac9c62918515cd"},
		{"ions3", "bob", 0x4986dd3ef482a761, "4986dd3ef482a761"},
		{"", "", 0x8a5edab282632443, "8a5edab282632443"},
	} {
		id := qnet.NewNodeID(c.realm, c.name)
		if id != c.want || id.String() != c.text {
			t.Errorf("id of %s/%s is %v, want %s", c.realm, c.name, id, c.text)
		}
		if back, err := qnet.ParseNodeID(c.text); back != id || err != nil {
			t.Errorf("ParseNodeID(%s) = %v, %v", c.text, back, err)
		}
	}
	if got := qnet.NodeID(0x1f).String(); got != "000000000000001f" {
		t.Errorf("String = %s", got)
	}
}

func TestParseNodeIDErrors(t *testing.T) {
	for _, s := range []string{"", "1f", "16ac9c62918515c", "16ac9c62918515cd0", "16ac9c62918515cg", "+6ac9c62918515cd", "0x16ac9c62918515", "16ac_c62918515cd"} {
		id, err := qnet.ParseNodeID(s)
		if want := fmt.Sprintf("node id %q: want 16 hexadecimal digits", s); err == nil || err.Error() != want || id != 0 {
			t.Errorf("ParseNodeID(%q) = %v, %v; want error %s", s, id, err, want)
		}
	}
}

// TestRandGolden pins the streams: the same seed must give the same experiment
// in the next release too. The values were computed apart from the standard
// library, from SHA-256 and the definition of PCG-DXSM.
func TestRandGolden(t *testing.T) {
	for _, c := range []struct {
		seed uint64
		name string
		want [3]uint64
	}{
		{0, "", [3]uint64{0x317197857f8a47c2, 0x6ad178a9eda14404, 0x9238adee9239bcb}},
		{7, "station/alice-bob", [3]uint64{0x572e7bfdc20a5c2c, 0x6b19d041f7f95069, 0x2a41380e32068116}},
		{math.MaxUint64, "node/alice/bases", [3]uint64{0xf8660894862fafd5, 0x3bc4df0a5ceccf83, 0xfc8c5a8d506a23c2}},
	} {
		r := qnet.NewRand(c.seed, c.name)
		if got := [3]uint64{r.Uint64(), r.Uint64(), r.Uint64()}; got != c.want {
			t.Errorf("stream %d %s begins %#x, want %#x", c.seed, c.name, got, c.want)
		}
	}
}

func TestRandStreams(t *testing.T) {
	seen := map[uint64]string{}
	for seed := range uint64(20) {
		for i := range 50 {
			name := fmt.Sprint("node/", i)
			a, b := qnet.NewRand(seed, name), qnet.NewRand(seed, name)
			first := a.Uint64()
			if first != b.Uint64() || a.Uint64() != b.Uint64() {
				t.Fatalf("stream %d %s is not the same twice", seed, name)
			}
			// 1,000 values of 64 bits: equal ones by chance with p < 3e-14.
			key := fmt.Sprint(seed, " ", name)
			if other, ok := seen[first]; ok {
				t.Errorf("streams %s and %s begin alike", key, other)
			}
			seen[first] = key
		}
	}
	// Two neighbouring streams agree in half of their bits. Of 64,000 bits the
	// standard deviation is 126.5; 5.5 of them have a false-alarm probability of
	// 4e-8 (and the seed is fixed).
	a, b := qnet.NewRand(7, "node/alice"), qnet.NewRand(7, "node/alicf")
	equal := 0
	for range 1000 {
		equal += 64 - bits.OnesCount64(a.Uint64()^b.Uint64())
	}
	if math.Abs(float64(equal)-32_000) > 5.5*126.5 {
		t.Errorf("%d of 64000 bits agree", equal)
	}
}

func TestTime(t *testing.T) {
	if got := qnet.Time(5).Add(-7); got != -2 {
		t.Errorf("5-7 = %d", got)
	}
	for _, c := range []struct {
		t qnet.Time
		d time.Duration
	}{{qnet.Never, 1}, {qnet.Never - 1, 1}, {1, math.MaxInt64}, {qnet.Never, math.MaxInt64}} {
		if got := c.t.Add(c.d); got != qnet.Never {
			t.Errorf("%d+%d = %d, want Never", c.t, c.d, got)
		}
	}
	if got := qnet.Time(1_500_000_000).Sub(500_000_000); got != time.Second {
		t.Errorf("Sub = %v", got)
	}
	if a, b, c := qnet.Time(1_500_000_000).String(), qnet.Never.String(), qnet.Time(250_000_000).Seconds(); a != "1.5s" || b != "never" || c != 0.25 {
		t.Errorf("%s, %s, %v", a, b, c)
	}
}

// TestFibreDelay: 206.753 km take a millisecond, and the refractive index is
// that of fibre.
func TestFibreDelay(t *testing.T) {
	if got := qnet.FibreDelay(206_753, qnet.FibreSpeed); got != time.Millisecond {
		t.Errorf("206.753 km take %v", got)
	}
	if got := qnet.FibreDelay(2, qnet.FibreSpeed); got != 10 { // 9.67 ns
		t.Errorf("2 m take %v", got)
	}
	if n := 299_792_458 / qnet.FibreSpeed; math.Abs(n-1.45) > 1e-4 {
		t.Errorf("refractive index %v", n)
	}
}

// TestFidelity: a Werner state of parameter W is W·Φ+ and (1−W)/4 of each Bell
// state, so its fidelity is W+(1−W)/4; teleportation through it gives the input
// with weight W and otherwise nothing but noise, so W+(1−W)/2.
func TestFidelity(t *testing.T) {
	for w := -0.25; w <= 1; w += 0.125 {
		f := w + (1-w)/4
		if got := qnet.WernerFidelity(w); math.Abs(got-f) > 1e-15 {
			t.Errorf("WernerFidelity(%v) = %v, want %v", w, got, f)
		}
		if got := qnet.Werner(f); math.Abs(got-w) > 1e-15 {
			t.Errorf("Werner(%v) = %v, want %v", f, got, w)
		}
		if got, want := qnet.TeleportFidelity(f), w+(1-w)/2; math.Abs(got-want) > 1e-15 {
			t.Errorf("TeleportFidelity(%v) = %v, want %v", f, got, want)
		}
	}
}
