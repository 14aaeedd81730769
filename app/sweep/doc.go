// Package sweep runs grids of scenarios with a workload, each for a number of
// seeds, keeps what they gave in a folder, and compares it with a reference.
//
// A sweep is a scenario file with a table [sweep], or a file of that table alone
// which names the scenario that it is about. Its axes are lists of named
// alternatives, each of them the keys of the scenario that it changes; a grid is
// the product of some of the axes:
//
//	version = 1
//
//	[sweep]
//	title = "Load and kind of request"
//	about = "What the page that --markdown writes says at the top; nothing unless given."
//	base = "nv.toml"               # a scenario; this file itself unless given
//	reference = "reference.toml"   # what to compare with (--verify); none unless given
//
//	[sweep.axis.load]
//	low = { workload.load = 0.7 }
//	high = { workload.load = 0.99 }
//
//	[sweep.axis.kind]
//	keep = { workload.type.MD = false }      # of an array of tables, by name; false takes away
//	measure = { workload.type.NL = false }
//
//	[[sweep.grid]]                 # one of all axes, named after the sweep, unless given
//	name = "single"
//	title = "One type of request"
//	axes = ["kind", "load = low"]  # all alternatives of an axis, or some
//	set = { link.scheduler = "fcfs" } # in all rows, before the axes
//	seeds = 30                     # runs of each row; the workload's unless given
//	verify = true                  # run with --verify only; false unless given
//
// A row is one alternative of each axis of its grid, "single/keep/low". Alternatives
// are laid over the base in the order of the axes, see toml.Document.Overlay, and the
// result is read as strictly as any scenario: an error names the file and the key
// that it stands in. Two axes of a grid, or an axis and the grid itself, that set the
// same key are an error, as one would hide the other.
//
// A folder stands for the sweep.toml in it, or for all scenarios in it; a scenario
// without [sweep] is a grid of one row.
//
// Each run is a line of JSON in the folder of results, under the hash of all that
// it depends on and the program that made it: what is there is not run again.
package sweep
