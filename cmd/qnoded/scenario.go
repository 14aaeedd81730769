package main

import (
	"fmt"
	"os"

	"qstack/app/expect"
	"qstack/node/scenario"
	"qstack/qnet/toml"
	"qstack/scenarios"
)

// defaultScenario is the embedded one that demo and sim take.
const defaultScenario = "ions3.toml"

// loadScenario reads the scenario that the arguments name, or the embedded one.
// It returns the document of its file too.
func loadScenario(args []string) (*scenario.Scenario, *toml.Document, error) {
	name := defaultScenario
	read := scenarios.Files.ReadFile
	if len(args) > 0 {
		name, read = args[0], os.ReadFile
	}
	source, err := read(name)
	if err != nil {
		return nil, nil, badConfig(fmt.Errorf("scenario: %w", err))
	}
	doc, err := toml.Parse(name, source)
	if err != nil {
		return nil, nil, badConfig(err)
	}
	s, err := scenario.ParseDocument(doc, nil)
	if err != nil {
		return nil, nil, badConfig(err)
	}
	return s, doc, nil
}

// ends are the nodes between which entanglement is measured.
type ends struct{ from, to string }

// resolve fills in the first and the last node of the scenario, and checks that
// there is a path.
func (e *ends) resolve(s *scenario.Scenario) error {
	if e.from == "" {
		e.from = s.Nodes[0].Name
	}
	if e.to == "" {
		e.to = s.Nodes[len(s.Nodes)-1].Name
	}
	if _, err := expect.Path(s, e.from, e.to); err != nil {
		return usage("--from, --to: %v", err)
	}
	return nil
}

// parseFaults reads the faults that the emulated hardware of s is to have.
func parseFaults(texts []string, s *scenario.Scenario) ([]scenario.Fault, error) {
	var faults []scenario.Fault
	for _, t := range texts {
		f, err := scenario.ParseFault(t)
		if err == nil {
			_, err = f.Apply(s)
		}
		if err != nil {
			return nil, usage("--fault: %v", err)
		}
		faults = append(faults, f)
	}
	return faults, nil
}
