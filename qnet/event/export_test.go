package event

// Watched returns the number of channels that v looks at after each event.
func (v *Virtual) Watched() int { return len(v.watched) }
