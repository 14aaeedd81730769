package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"qstack/qnet"
)

// Record is one line of a trace.
type Record struct {
	T      qnet.Time
	Node   string
	Layer  string
	Event  string
	Fields map[string]any // all others: string, bool or json.Number
}

// Read returns the lines of a trace, up to the first one that is malformed; the
// error then says which.
func Read(r io.Reader) ([]Record, error) {
	var records []Record
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 && err == io.EOF {
			return records, nil
		}
		if err != nil && err != io.EOF {
			return records, err
		}
		rec, err := parse(line)
		if err != nil {
			return records, fmt.Errorf("trace line %d: %w", n, err)
		}
		records = append(records, rec)
	}
}

func parse(line []byte) (Record, error) {
	var rec Record
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&rec.Fields); err != nil {
		return rec, err
	}
	t, ok := rec.Fields["t"].(json.Number)
	if !ok {
		return rec, fmt.Errorf("t is not a number")
	}
	ns, err := t.Int64()
	if err != nil {
		return rec, fmt.Errorf("t: %w", err)
	}
	rec.T = qnet.Time(ns)
	for _, f := range []struct {
		key string
		v   *string
	}{{"node", &rec.Node}, {"layer", &rec.Layer}, {"event", &rec.Event}} {
		if *f.v, ok = rec.Fields[f.key].(string); !ok {
			return rec, fmt.Errorf("%s is not a string", f.key)
		}
		delete(rec.Fields, f.key)
	}
	delete(rec.Fields, "t")
	return rec, nil
}
