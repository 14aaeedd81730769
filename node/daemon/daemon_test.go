package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"qstack/node"
	"qstack/node/scenario"
	"qstack/qnet"
	"qstack/qnet/pki"
	"qstack/qsocket"
	"qstack/scenarios"
)

// files lays a scenario, its credentials and a configuration out in a folder and
// returns the configurations' parts.
func files(t testing.TB) (dir string, s *scenario.Scenario, base string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "qd") // short: socket paths have a limit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	source, err := scenarios.Files.ReadFile("ideal2.toml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "scenario.toml"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err = scenario.Parse("scenario.toml", source); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("version = 1\nscenario = \"scenario.toml\"\ncredentials = \"credentials\"\nruntime = \"run\"\n")
	addresses := "[addresses]\n"
	for _, name := range Names(s) {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		addresses += "\"" + name + "\" = \"" + c.LocalAddr().String() + "\"\n"
	}
	return dir, s, b.String() + "%s\n" + addresses
}

func config(t testing.TB, dir, base, role string) *Config {
	t.Helper()
	c, err := ParseConfig(filepath.Join(dir, "d.toml"), []byte(strings.Replace(base, "%s", role, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// credentials makes those of all identities of s.
func credentials(t testing.TB, dir string, s *scenario.Scenario) {
	t.Helper()
	ca, err := pki.NewCA(s.Realm, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Names(s) {
		c, err := ca.Issue(name, RoleOf(s, name))
		if err == nil {
			err = c.Save(filepath.Join(dir, "credentials"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A fabric and two nodes in one process serve programs, and stop without a trace
// of a goroutine or socket.
func TestStartAndStop(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir, s, base := files(t)
	credentials(t, dir, s)
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, role := range []string{`role = "fabric"`, "role = \"node\"\nname = \"alice\"", "role = \"node\"\nname = \"bob\""} {
		d, err := Start(config(t, dir, base, role), log)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	run := filepath.Join(dir, "run")
	for _, name := range []string{node.FabricName, "alice", "bob"} {
		for {
			st, err := FetchStatus(ctx, ControlPath(run, name))
			if err != nil {
				t.Fatal(err)
			}
			if st.Name != name || st.PID != os.Getpid() {
				t.Fatalf("status of %s: %+v", name, st)
			}
			if st.Ready {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("%s is not ready: %+v", name, st)
			case <-time.After(5 * time.Millisecond): // it is ready when it says so; ctx is the bound
			}
		}
	}
	open := func(name string) *qsocket.Node {
		q, err := qsocket.Open(ctx, name, qsocket.Options{Path: ProgramPath(run, name)})
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	alice, bob := open("alice"), open("bob")
	defer alice.Close()
	defer bob.Close()
	l, err := bob.Listen(ctx, ":7")
	if err != nil {
		t.Fatal(err)
	}
	a, err := alice.Dial(ctx, "bob:7", qsocket.Contract{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	kept := make(chan error, 1)
	go func() {
		pairs, err := b.Keep(ctx, 2)
		for _, p := range pairs {
			p.Qubit.Free()
		}
		kept <- err
	}()
	pairs, err := a.Keep(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pairs {
		p.Qubit.Free()
	}
	if err := <-kept; err != nil {
		t.Fatal(err)
	}
	if _, err := Start(config(t, dir, base, "role = \"node\"\nname = \"alice\""), log); err == nil {
		t.Error("a second daemon of alice has started")
	}
}

// No process, not even the fabric's, which serves no programs, has its sockets
// where others could put theirs.
func TestOpenFolder(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir, s, base := files(t)
	credentials(t, dir, s)
	run := filepath.Join(dir, "run")
	if err := os.Mkdir(run, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(run, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{`role = "fabric"`, "role = \"node\"\nname = \"alice\""} {
		d, err := Start(config(t, dir, base, role), slog.New(slog.DiscardHandler))
		if !errors.Is(err, qnet.ErrAuth) || !strings.Contains(err.Error(), "must have mode 0700") {
			t.Errorf("%s: %v", role, err)
		}
		if err == nil {
			d.Close()
		}
	}
}

// A configuration that is wrong is refused with the file, and what to write.
func TestConfigErrors(t *testing.T) {
	dir, _, base := files(t)
	good := strings.Replace(base, "%s", "role = \"node\"\nname = \"alice\"", 1)
	for _, c := range []struct{ name, from, to, want string }{
		{"version", "version = 1", "version = 2", "d.toml: version: 2 is not supported"},
		{"unknown key", "runtime", "runtine", `d.toml:4:1: unknown key [runtine]`},
		{"syntax", "version = 1", "version = ", "d.toml:1"},
		{"type", "version = 1", `version = "one"`, "d.toml:1"},
		{"no scenario", "scenario.toml", "nowhere.toml", "nowhere.toml"},
		{"role", `"node"`, `"king"`, `role: "king" is unknown: write node, fabric or observer`},
		{"node", `"alice"`, `"alicia"`, "alicia"},
		{"named fabric", `"node"`, `"fabric"`, `name: the fabric has none, but "alice" is given`},
		{"faults", `name = "alice"`, "name = \"alice\"\nfaults = [\"readout=0.1\"]", "faults: only the fabric has them"},
		{"fault", "role = \"node\"\nname = \"alice\"", "role = \"fabric\"\nfaults = [\"readout=2\"]", "readout must be a number from 0 to"},
		{"fault of nothing", "role = \"node\"\nname = \"alice\"", "role = \"fabric\"\nfaults = [\"visibility=0.5\"]", `faults: "visibility=0.5" needs a link with model = "double-click"`},
		{"long path", `"run"`, `"` + strings.Repeat("long", 30) + `"`, "runtime: the path "},
		{"missing address", `"bob" = `, `"bobby" = `, "addresses: bob is missing"},
		{"address", `127.0.0.1:`, `127.0.0.1;`, "is not host:port"},
		{"stranger", "[addresses]\n", "[addresses]\ncarol = \"127.0.0.1:1\"\n", "addresses: 1 of them belong to nobody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.from, c.to, 1)
			if text == good {
				t.Fatal("nothing was changed")
			}
			_, err := ParseConfig(filepath.Join(dir, "d.toml"), []byte(text))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "d.toml") {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

// No configuration makes the parser panic, and one that it takes is complete.
func FuzzParseConfig(f *testing.F) {
	dir, _, base := files(f)
	f.Add([]byte(strings.Replace(base, "%s", "role = \"node\"\nname = \"alice\"", 1)))
	f.Add([]byte(strings.Replace(base, "%s", "role = \"fabric\"\nfaults = [\"gate2=0.1\"]", 1)))
	f.Add([]byte("version = 1\n[addresses]\n\"\" = 3"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(filepath.Join(dir, "d.toml"), data)
		if err != nil {
			return
		}
		for _, name := range Names(c.scenario) {
			if c.Addresses[name] == "" {
				t.Errorf("%s has no address", name)
			}
		}
	})
}

// Diagnose names the most basic thing that is wrong, where it is, and what to do.
func TestDiagnose(t *testing.T) {
	healthy := func() map[string]Answer {
		end := func(name, peer string) Link { return Link{Name: name, Peer: peer, Lanes: 1} }
		st := func(name string, links ...Link) Answer {
			return Answer{Status: &Status{Role: RoleNode, Name: name, Links: links}}
		}
		m := map[string]Answer{
			"alice":   st("alice", end("alice-bob", "bob")),
			"bob":     st("bob", end("alice-bob", "alice"), end("bob-charlie", "charlie")),
			"charlie": st("charlie", end("bob-charlie", "bob")),
		}
		open := func(peer string, here, there []SocketQuery) []Socket {
			return []Socket{{Program: "p", Peer: peer, Port: 7, State: "open", Here: here, There: there}}
		}
		m["alice"].Status.Sockets = open("charlie", []SocketQuery{{Kind: "keep", Pairs: 1, Matched: true}}, nil)
		m["charlie"].Status.Sockets = open("alice", []SocketQuery{{Kind: "keep", Pairs: 1, Matched: true}}, nil)
		return m
	}
	full := func(m map[string]Answer) {
		st := m["alice"].Status
		st.Held, st.Links[0].Wanted, st.Links[0].Held = 1, 1, 1
	}
	same := func(map[string]Answer) {}
	for _, c := range []struct {
		name    string
		breakIt func(m map[string]Answer)
		where   string
		what    string
		later   func(m map[string]Answer) // what changes until the second look; nil when there is none
	}{
		{"healthy", func(map[string]Answer) {}, "", "", nil},
		{"no daemon", func(m map[string]Answer) { delete(m, "charlie") }, "charlie", "no daemon", nil},
		{"dead daemon", func(m map[string]Answer) { m["bob"] = Answer{Err: context.DeadlineExceeded} }, "bob", "does not answer", nil},
		{"no hardware", func(m map[string]Answer) { m["alice"].Status.Fabric = "world.fabric is not answering" }, "alice", "hardware is gone", nil},
		{"link down", func(m map[string]Answer) {
			m["bob"].Status.Links[1].Down = "link bob-charlie is down: charlie is not answering"
		}, "bob", "bob-charlie is down", nil},
		{"no socket", func(m map[string]Answer) { m["alice"].Status.Sockets, m["charlie"].Status.Sockets = nil, nil }, "alice", "no program has a socket", nil},
		{"not accepted", func(m map[string]Answer) { m["charlie"].Status.Sockets[0].State = "queued" }, "charlie", "queued", nil},
		{"did not post", func(m map[string]Answer) {
			m["alice"].Status.Sockets[0].Here[0].Matched = false
			m["charlie"].Status.Sockets[0].Here = nil
		}, "charlie", "the program at charlie has not asked for 1 pair (keep)", nil},
		{"different", func(m map[string]Answer) {
			m["alice"].Status.Sockets[0].Here[0].Matched = false
			m["alice"].Status.Sockets[0].There = []SocketQuery{{Kind: "receive"}}
		}, "alice", "different things: 1 pair (keep) at alice, receive at charlie", nil},
		{"fabric", func(m map[string]Answer) {
			m[node.FabricName] = Answer{Status: &Status{Role: RoleFabric}}
			m["alice"] = m[node.FabricName]
		}, "alice", "it is no node", nil},
		{"memory full", full, "alice", "memory full: all 1 communication qubits of link alice-bob are in use; programs at alice hold 1", same},
		{"pairs come", full, "", "", func(m map[string]Answer) { m["alice"].Status.Links[0].Pairs++ }},
		{"pairs expire", full, "", "", func(m map[string]Answer) { m["alice"].Status.Links[0].Expired++ }},
		{"freed", full, "", "", func(m map[string]Answer) { m["alice"].Status.Held = 0 }},
		{"silent later", full, "", "", func(m map[string]Answer) { m["alice"] = Answer{Err: context.DeadlineExceeded} }},
		{"half waits for its swap", func(m map[string]Answer) { full(m); m["alice"].Status.Held = 0 }, "", "", nil},
		{"qubit in storage", func(m map[string]Answer) {
			full(m)
			m[node.FabricName] = Answer{Status: &Status{Role: RoleFabric, Qubits: []Qubit{{Node: "alice", Use: "storage"}, {Node: "alice", Use: "communication"}}}}
		}, "", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := healthy()
			c.breakIt(m)
			looks := 1
			got, err := Diagnose("alice", "charlie", m, func() (map[string]Answer, error) {
				looks++
				m := healthy()
				c.breakIt(m)
				if c.later != nil {
					c.later(m)
				}
				return m, nil
			})
			if err != nil || (looks == 2) != (c.later != nil) {
				t.Errorf("after %d looks: %v", looks, err)
			}
			if c.what == "" {
				if len(got) != 0 {
					t.Errorf("problems %+v where there are none", got)
				}
				return
			}
			if len(got) == 0 || got[0].Where != c.where || !strings.Contains(got[0].What, c.what) || got[0].Do == "" {
				t.Errorf("problems %+v, want first %s: %s", got, c.where, c.what)
			}
		})
	}
}
