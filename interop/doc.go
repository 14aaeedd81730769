// Package interop holds the tests that need the whole house: over several
// processes, over all packages at once, and against software that others wrote.
// Those over processes look into /proc, so they need Linux.
package interop
