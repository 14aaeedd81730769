package qnet

// Werner returns the Werner parameter W=(4F−1)/3 of a state of fidelity f to
// its named Bell state. F=1 gives 1, the maximally mixed state (F=1/4) gives 0.
func Werner(f float64) float64 { return (4*f - 1) / 3 }

// WernerFidelity is the inverse of Werner: F=(1+3W)/4.
func WernerFidelity(w float64) float64 { return (1 + 3*w) / 4 }

// TeleportFidelity returns the mean fidelity (2F+1)/3 of teleportation, over
// all input states, through a pair of fidelity f to a Bell state with perfect
// local operations (Horodecki, Phys. Rev. A 60, 1888, 1999).
func TeleportFidelity(f float64) float64 { return (2*f + 1) / 3 }
