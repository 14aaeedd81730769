package sweep_test

import (
	"testing"

	"qstack/app/sweep"
	"qstack/scenarios"
)

// The campaign, read and planned.
func BenchmarkCampaign(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		s, err := sweep.Load(sweep.FS{FS: scenarios.Files}, "campaign")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Plan(sweep.Options{Verify: true}); err != nil {
			b.Fatal(err)
		}
	}
}
