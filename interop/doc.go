// Package interop holds the tests that need the whole house: over several
// processes, over all packages at once, and against software that others wrote.
package interop
