package workload

import (
	"strings"
	"testing"
)

// TestFidelityOfHardware: whatever the hardware of the ends does besides attempts is in
// what is granted, so that the mean of what is handed up is that at least, by 5 standard
// errors, which a mean that is right is below with a probability of 3e-7 in each case; and
// requests complete.
func TestFidelityOfHardware(t *testing.T) {
	const frame = `version = 1
network = { name = "hardware", seed = 12 }
nodes = [{ name = "alice", hardware = "a"STORAGE }, { name = "bob", hardware = "b"STORAGE }]
links = [{ nodes = ["alice", "bob"], heralding = "h", LENGTHlanes = LANES }]
`
	const ideal = `
heralding.h = { model = "ideal", attempt_rate = "RATE", probability = PROBABILITY, fidelity = 0.99 }
`
	const lab = "hardware.x = { preset = \"nv-lab\", set = { storage = 2, collection = 0.5, zero_phonon = 0.3, gate2_time = \"50 us\", storage_t2 = \"100 ms\", t2 = \"10 ms\", t1 = \"100 ms\" } }\n"
	both := func(settings string) string {
		return strings.NewReplacer("hardware.x", "hardware.a").Replace(settings) + strings.NewReplacer("hardware.x", "hardware.b").Replace(settings)
	}
	for _, c := range []struct {
		name, hardware, lanes, rate, probability, workload string
	}{
		{name: "storage that waits for the communication qubit", lanes: "1", rate: "10 kHz", probability: "0.02",
			hardware: "hardware.a = { memory = \"depolarising\", memory_time = \"30 ms\", init = \"2 ms\" }\n" +
				"hardware.b = { memory = \"depolarising\", memory_time = \"30 ms\", init = \"10 us\" }\n",
			workload: "load = 0.5\nhorizon = \"60 s\"\n[[workload.type]]\nname = \"X\"\ntype = \"keep\"\nstore = true\nmin_fidelity = \"highest\"\n"},
		{name: "lanes of serial hardware", lanes: "3", rate: "10 kHz", probability: "0.3",
			hardware: "hardware.a = { preset = \"ion-avis2023\", set = { communication = 3, storage = 3, serial = true, gate2_time = \"300 us\" } }\n" +
				"hardware.b = { preset = \"ion-avis2023\", set = { communication = 3, storage = 3, storage_t2 = \"3 ms\", gate2_time = \"10 us\" } }\n",
			workload: "load = 0.1\nhorizon = \"60 s\"\n[[workload.type]]\nname = \"X\"\ntype = \"keep\"\nstore = true\npairs = \"1..5\"\nmin_fidelity = \"highest\"\n"},
		{name: "storage that relaxation does good, interrupted", lanes: "1", rate: "10 kHz", probability: "0.002",
			hardware: both("hardware.x = { preset = \"ion-avis2023\", set = { storage = 1, storage_t1 = \"50 ms\", storage_t2 = \"100 ms\", storage_init_depolarising = 0.1 } }\n"),
			workload: "load = 0.8\nhorizon = \"300 s\"\n[[workload.type]]\nname = \"X\"\ntype = \"keep\"\nstore = true\nmin_fidelity = \"highest\"\n" +
				"[[workload.type]]\nname = \"Y\"\ntype = \"measure\"\npriority = 1\nshare = 2\n"},
		{name: "sets that attempts dephase", lanes: "1", hardware: both(lab) + "heralding.h = " + strings.TrimPrefix(lab, "hardware.x = "),
			workload: "load = 0.1\nhorizon = \"20 s\"\n[[workload.type]]\nname = \"X\"\ntype = \"keep\"\nstore = true\nconsecutive = true\npairs = 2\nmin_fidelity = \"highest\"\n"},
		{name: "pauses of one end", lanes: "1", rate: "10 kHz", probability: "0.002",
			hardware: "hardware.a = { preset = \"ion-avis2023\", set = { storage = 2, indirect = true, storage_t1 = \"50 ms\", storage_t2 = \"20 ms\", storage_init_time = \"1 ms\" } }\n" +
				"hardware.b = { preset = \"ion-avis2023\", set = { storage = 2, indirect = false, storage_t1 = \"50 ms\", storage_t2 = \"40 ms\" } }\n",
			workload: "load = 0.3\nhorizon = \"600 s\"\n[[workload.type]]\nname = \"X\"\ntype = \"keep\"\nstore = true\nmin_fidelity = \"highest\"\n"},
		{name: "sets, pauses of one end", lanes: "1", rate: "10 kHz", probability: "0.02",
			hardware: "hardware.a = { preset = \"ion-avis2023\", set = { storage = 2, indirect = true, storage_t2 = \"20 ms\", storage_init_time = \"2 ms\" } }\n" +
				"hardware.b = { preset = \"ion-avis2023\", set = { storage = 2, indirect = false, storage_t2 = \"40 ms\" } }\n",
			workload: "load = 0.3\norigin = \"B\"\nhorizon = \"200 s\"\n[[workload.type]]\nname = \"X\"\ntype = \"keep\"\nstore = true\nconsecutive = true\npairs = 2\nmin_fidelity = \"highest\"\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			storage := ""
			if !strings.Contains(c.hardware, "preset") {
				storage = ", storage = 1"
			}
			length := ""
			if c.rate != "" {
				c.hardware += ideal
				length = "length = \"1 km\", "
			}
			text := strings.NewReplacer("LANES", c.lanes, "RATE", c.rate, "PROBABILITY", c.probability, "STORAGE", storage, "LENGTH", length).Replace(frame + c.hardware)
			r := run(t, parse(t, text+"[workload]\n"+c.workload), Options{})
			x, got := r.Types[0], r.Types[0].Both.Oracle
			t.Logf("%.6f ± %.6f of %d pairs, asked for %.6f; %d of %d requests completed", got.Mean, got.StdErr, got.N, x.MinFidelity, x.Both.Completed, x.Both.Requests)
			if got.N < 1000 || got.Mean < x.MinFidelity-5*got.StdErr {
				t.Errorf("fidelity is %.6f ± %.6f of %d pairs, want %.6f", got.Mean, got.StdErr, got.N, x.MinFidelity)
			}
			if float64(x.Both.Completed) < 0.95*float64(x.Both.Requests) {
				t.Errorf("%d of %d requests completed", x.Both.Completed, x.Both.Requests)
			}
			if len(r.Errors) > 0 {
				t.Error(strings.Join(r.Errors, "\n"))
			}
		})
	}
}
