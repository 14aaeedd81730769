package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qstack/node/daemon"
	"qstack/qnet/pki"
)

// initialise runs init in this process and returns what it says.
func initialise(t *testing.T, arguments ...string) *made {
	t.Helper()
	var out, errs strings.Builder
	if code := run(t.Context(), append([]string{"init", "--json"}, arguments...), strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	m := new(made)
	if err := json.Unmarshal([]byte(out.String()), m); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	return m
}

// The folder of a process holds the keys of that process and no others, and only
// the folder of the authority its key. Nobody else can read any of it.
func TestInitKeepsKeysApart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	initialise(t, "--dir", dir)
	keys := make(map[string][]string) // by folder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch mode := info.Mode().Perm(); {
		case d.IsDir() && mode != 0o700, strings.HasSuffix(name, ".key") && mode != 0o600:
			t.Errorf("%s has mode %v", name, mode)
		}
		data := []byte(nil)
		if !d.IsDir() {
			if data, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		if strings.HasSuffix(name, ".key") != strings.Contains(string(data), "PRIVATE KEY") {
			t.Errorf("%s: a private key is where none should be, or is not where one should", name)
		}
		if strings.HasSuffix(name, ".key") {
			folder, _, _ := strings.Cut(name, string(filepath.Separator))
			keys[folder] = append(keys[folder], filepath.Base(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string][]string{
		"ca":             {"ca.key"},
		"world.fabric":   {"alice-bob.station.key", "bob-charlie.station.key", "world.fabric.key"},
		"alice":          {"alice.key"},
		"bob":            {"bob.key"},
		"charlie":        {"charlie.key"},
		"world.observer": {"world.observer.key"},
	} {
		if !slices.Equal(keys[folder], want) {
			t.Errorf("folder %s has the keys %v, not %v", folder, keys[folder], want)
		}
		delete(keys, folder)
	}
	if len(keys) > 0 {
		t.Errorf("there are more keys: %v", keys)
	}
}

// Every process gets a configuration that stands for itself, with addresses of
// everybody at the hosts that were given, and ports that nobody else has. The
// stations are where the fabric is.
func TestInitAddresses(t *testing.T) {
	hosts := map[string]string{"world.fabric": "fabric.example.org", "alice": "10.0.0.2", "bob": "fd00::3", "charlie": "10.0.0.4"}
	arguments := []string{"--dir", filepath.Join(t.TempDir(), "net"), "--port-base", "5000"}
	for name, host := range hosts {
		arguments = append(arguments, "--host", name+"="+host)
	}
	m := initialise(t, arguments...)
	want := map[string]string{
		"world.fabric": "fabric.example.org:5000", "alice-bob.station": "fabric.example.org:5001", "bob-charlie.station": "fabric.example.org:5002",
		"alice": "10.0.0.2:5003", "bob": "[fd00::3]:5004", "charlie": "10.0.0.4:5005",
	}
	if len(m.Processes) != len(hosts) || m.Processes[0].Role != daemon.RoleFabric || !slices.Equal(m.Processes[0].Ports, []int{5000, 5001, 5002}) {
		t.Errorf("processes %+v", m.Processes)
	}
	for _, p := range m.Processes {
		copied := filepath.Join(t.TempDir(), "copy") // as on another host, where nothing else is
		if err := os.Rename(p.Dir, copied); err != nil {
			t.Fatal(err)
		}
		c, err := daemon.LoadConfig(filepath.Join(copied, filepath.Base(p.Config)))
		if err != nil {
			t.Fatal(err)
		}
		if p.Role == daemon.RoleNode && c.Name != p.Name || c.Role != p.Role || p.Host != hosts[p.Name] {
			t.Errorf("%+v has the configuration %+v", p, c)
		}
		if len(c.Addresses) != len(want) {
			t.Errorf("addresses of %s: %v", p.Name, c.Addresses)
		}
		for name, address := range want {
			if c.Addresses[name] != address {
				t.Errorf("%s has %s at %s, not at %s", p.Name, name, c.Addresses[name], address)
			}
		}
	}
}

// With the authority of an earlier init, new credentials belong with the old
// ones.
func TestInitIssuesAgain(t *testing.T) {
	dir := t.TempDir()
	old := initialise(t, "--dir", filepath.Join(dir, "old"))
	m := initialise(t, "--dir", filepath.Join(dir, "new"), "--ca", old.CA)
	if m.CA != old.CA || !m.Expires.Equal(old.Expires) {
		t.Errorf("authority %s until %v, not %s until %v", m.CA, m.Expires, old.CA, old.Expires)
	}
	root := func(m *made) string {
		data, err := os.ReadFile(filepath.Join(m.Dir, "alice", "credentials", "ca.crt"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if root(old) != root(m) {
		t.Error("the new credentials are of another authority")
	}
	if _, err := os.Stat(filepath.Join(m.Dir, "ca")); err == nil {
		t.Error("the authority is there twice")
	}
	if _, err := pki.LoadCA(old.CA); err != nil {
		t.Error(err)
	}
}
