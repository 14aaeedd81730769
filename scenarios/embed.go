// Package scenarios holds the networks that come with the project, so that
// programs carry them along. Package scenario describes the format.
package scenarios

import "embed"

// Files holds the scenario files, each under its base name: ions3.toml,
// chain10.toml and ideal2.toml.
//
//go:embed *.toml
var Files embed.FS
