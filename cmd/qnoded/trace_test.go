package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	linklayer "qstack/link"
	networklayer "qstack/network"
	"qstack/qnet/trace"
	"qstack/qnet/wire"
)

// The contents of a trace are the messages of link and network layer, and all that
// it has beside the one without. Nobody but the owner reads it.
func TestSimTraceContents(t *testing.T) {
	frames, err := wire.NewRegistry(linklayer.Messages(), networklayer.Messages())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "w.toml")
	if err := os.WriteFile(file, []byte(workloadScenario(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name  string
		args  []string
		types int // of messages at least
	}{
		{"programs", []string{"sim", "--pairs", "150", "--teleports", "1", "--seed", "7"}, 12},
		{"workload", []string{"sim", file, "--seeds", "1"}, 5},
	} {
		t.Run(x.name, func(t *testing.T) {
			dir := t.TempDir()
			plain, full := filepath.Join(dir, "plain"), filepath.Join(dir, "full")
			for _, args := range [][]string{{"--trace", plain}, {"--trace", full, "--trace-contents"}} {
				var out, errs strings.Builder
				if code := run(t.Context(), append(x.args, args...), strings.NewReader(""), &out, &errs); code != 0 {
					t.Fatalf("code %d: %s", code, errs.String())
				}
			}
			if info, err := os.Stat(full); err != nil || info.Mode().Perm()&^0o600 != 0 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
			without, with := read(t, plain), read(t, full)
			records, err := trace.Read(bytes.NewReader(with))
			if err != nil {
				t.Fatal(err)
			}
			was := bytes.SplitAfter(without, []byte("\n"))
			types := make(map[wire.Type]bool)
			for i, line := range bytes.SplitAfter(with, []byte("\n")) {
				if len(line) == 0 {
					continue
				}
				r := records[i]
				data, ok := r.Fields["data"].(string)
				number, _ := r.Fields["type"].(json.Number)
				n, _ := number.Int64()
				m := frames.New(wire.Type(n))
				if ok != (r.Layer == "control" && r.Event == "send" && m != nil) {
					t.Fatalf("%s", line)
				}
				if ok {
					b, err := hex.DecodeString(data)
					if err != nil || wire.ParseExact(b, m) != nil || r.Fields["bytes"] != json.Number(strconv.Itoa(len(b))) {
						t.Fatalf("%v: %s", err, line)
					}
					types[m.Type()] = true
					line = bytes.Replace(line, []byte(`,"data":"`+data+`"`), nil, 1)
				}
				if i >= len(was) || !bytes.Equal(line, was[i]) {
					t.Fatalf("line %d is %s\nwithout contents it is %s", i+1, line, was[i])
				}
			}
			if len(was) != len(records)+1 || len(types) < x.types {
				t.Errorf("%d lines, want %d; messages %v", len(records), len(was)-1, types)
			}
		})
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
