// Package scenarios holds the networks that come with the project, so that
// programs carry them along. Package scenario describes the format.
package scenarios

import "embed"

// Files holds the scenario files, each under its base name: ions3.toml,
// chain10.toml and ideal2.toml; and in folders the sweeps, see package sweep:
// campaign.
//
//go:embed *.toml campaign
var Files embed.FS
