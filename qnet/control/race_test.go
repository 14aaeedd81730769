//go:build race

package control_test

// raceEnabled says that sync.Pool drops at random, so that counts of
// allocations mean nothing.
const raceEnabled = true
