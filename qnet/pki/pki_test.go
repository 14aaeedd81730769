package pki

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"qstack/qnet"
	"qstack/qnet/qnettest"
)

const alpn = "qnet/1"

const sha256Prefix = "95cee689da32d6ea" // printf lab.example/alice | sha256sum | cut -c1-16

func mustCA(t *testing.T, realm string) *CA {
	t.Helper()
	ca, err := NewCA(realm, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func mustIssue(t *testing.T, ca *CA, name string, role Role) *Credential {
	t.Helper()
	c, err := ca.Issue(name, role)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var wantErr = qnettest.WantErr

// handshake connects client to server and returns both errors.
func handshake(t *testing.T, client, server *tls.Config) (clientErr, serverErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		s := tls.Server(conn, server)
		err = s.HandshakeContext(ctx)
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		done <- err
	}()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, client)
	clientErr = c.HandshakeContext(ctx)
	if clientErr == nil {
		// In TLS 1.3 the client learns only here that it was refused.
		_, clientErr = c.Read(make([]byte, 1))
	}
	conn.Close()
	return clientErr, <-done
}

func TestIdentityURI(t *testing.T) {
	who, err := NewIdentity("lab.example", RoleNode, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if want := "qnet://lab.example/node/alice?id=" + sha256Prefix; who.URI() != want {
		t.Errorf("URI %s, want %s", who.URI(), want)
	}
	got, err := ParseURI(who.URI())
	if err != nil || got != who {
		t.Errorf("ParseURI gives %v, %v; want %v", got, err, who)
	}
}

func TestParseURIErrors(t *testing.T) {
	alice, _ := NewIdentity("lab", RoleNode, "alice")
	id := alice.ID.String()
	for _, tc := range []struct{ uri, want string }{
		{"https://lab/node/alice?id=" + id, "want qnet://"},
		{"qnet://lab/node?id=" + id, "want qnet://"},
		{"qnet://lab/king/alice?id=" + id, "unknown role"},
		{"qnet:///node/alice?id=" + id, "realm"},
		{"qnet://lab/node/?id=" + id, "name"},
		{"qnet://lab/node/a/b?id=" + id, "not allowed"},
		{"qnet://lab/node/alice", "16 hexadecimal digits"},
		{"qnet://lab/node/alice?id=0000000000000000", "the id of alice in realm lab is " + id},
		{"qnet://lab/node/bob?id=" + id, "the id of bob"},
		{"qnet://other/node/alice?id=" + id, "the id of alice in realm other"},
		{"qnet://lab/node/alice?id=" + strings.ToUpper(id), "canonical"},
		{"qnet://lab/node/%61lice?id=" + id, "canonical"},
		{"qnet://lab/node/alice?id=" + id + "&x=1", "canonical"},
		{"qnet://lab/node/alice?id=" + id + "#f", "canonical"},
		{"qnet://root@lab/node/alice?id=" + id, "canonical"},
		{"qnet://lab:1/node/alice?id=" + id, "not allowed"},
		{"%", "want qnet://"},
	} {
		_, err := ParseURI(tc.uri)
		wantErr(t, err, qnet.ErrAuth, tc.want)
	}
}

func FuzzParseURI(f *testing.F) {
	alice, _ := NewIdentity("lab", RoleNode, "alice")
	f.Add(alice.URI())
	f.Add("qnet://lab/node/alice?id=")
	f.Add("qnet://a.b/station/x_y-z?id=0123456789abcdef")
	f.Fuzz(func(t *testing.T, s string) {
		who, err := ParseURI(s)
		if err != nil {
			if !errors.Is(err, qnet.ErrAuth) {
				t.Fatalf("error %v carries no qnet.ErrAuth", err)
			}
			return
		}
		if who.URI() != s {
			t.Fatalf("%q is accepted but its canonical form is %q", s, who.URI())
		}
		if who.ID != qnet.NewNodeID(who.Realm, who.Name) || who.ID == 0 {
			t.Fatalf("%q is accepted with id %v", s, who.ID)
		}
	})
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "alice", "node-1", "A_b.c", strings.Repeat("x", 63), "-", "_"} {
		if _, err := mustCA(t, "lab").Issue(name, RoleNode); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "a/b", ".", "..", ".a", "a.", "a..b", "a b", "é", "a?b", "a%62", "a\x00", strings.Repeat("x", 64)} {
		_, err := mustCA(t, "lab").Issue(name, RoleNode)
		wantErr(t, err, qnet.ErrInvalid, "name")
		_, err = NewCA(name, time.Hour)
		wantErr(t, err, qnet.ErrInvalid, "realm")
	}
	_, err := mustCA(t, "lab").Issue("alice", "king")
	wantErr(t, err, qnet.ErrInvalid, "alice", `unknown role "king"`)
	_, err = NewCA("lab", 0)
	wantErr(t, err, qnet.ErrInvalid, "validity")
}

func TestRealms(t *testing.T) {
	for _, realm := range []string{"a", "Lab", "lab.example", "a_b", "x-1"} {
		ca := mustCA(t, realm)
		c := mustIssue(t, ca, "alice", RoleNode)
		if _, err := c.Verify(c.Certificate(), x509.ExtKeyUsageClientAuth); err != nil {
			t.Errorf("realm %s: %v", realm, err)
		}
	}
}

func TestMutual(t *testing.T) {
	ca := mustCA(t, "lab")
	alice, bob := mustIssue(t, ca, "alice", RoleNode), mustIssue(t, ca, "bob", RoleStation)
	var seen Identity
	server := bob.ServerTLS(alpn, func(who Identity) error { seen = who; return nil })
	clientErr, serverErr := handshake(t, alice.ClientTLS(alpn, bob.Identity().ID), server)
	if clientErr != nil || serverErr != nil {
		t.Fatal(clientErr, serverErr)
	}
	if seen != alice.Identity() {
		t.Errorf("bob sees %v, want %v", seen, alice.Identity())
	}
	if want := qnet.NewNodeID("lab", "alice"); seen.ID != want || seen.Role != RoleNode || seen.Realm != "lab" || seen.Name != "alice" {
		t.Errorf("bob sees %+v", seen)
	}
}

func TestRefused(t *testing.T) {
	ca, other := mustCA(t, "lab"), mustCA(t, "lab")
	elsewhere := mustCA(t, "elsewhere")
	alice, bob := mustIssue(t, ca, "alice", RoleNode), mustIssue(t, ca, "bob", RoleNode)
	bobID := bob.Identity().ID
	falseBob := mustIssue(t, other, "bob", RoleNode)
	falseAlice := mustIssue(t, other, "alice", RoleNode)

	// A certificate of the right authority with a claim that it never makes.
	odd := func(uris ...string) *Credential {
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: "bob"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		for _, s := range uris {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			template.URIs = append(template.URIs, u)
		}
		c, err := ca.sign(bob.Identity(), template)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	elsewhereBob, _ := NewIdentity("elsewhere", RoleNode, "bob")

	// An ended certificate, and one that has not begun.
	old, err := newCA("lab", time.Hour, func() time.Time { return time.Now().Add(-2 * time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	oldBob, oldAlice := mustIssue(t, old, "bob", RoleNode), mustIssue(t, old, "alice", RoleNode)
	oldAlice.now = time.Now
	late := mustIssue(t, ca, "alice", RoleNode)
	late.now = func() time.Time { return time.Now().Add(-time.Hour) }

	// One byte of the subject alternative name changed after signing: bob claims
	// to be bab. The id no longer fits either, but the signature breaks first.
	tampered := *bob
	der := bytes.Replace(bob.cert.Certificate[0], []byte("node/bob"), []byte("node/bab"), 1)
	leaf, err := x509.ParseCertificate(der)
	if err != nil || bytes.Equal(der, bob.cert.Certificate[0]) {
		t.Fatal("certificate was not tampered with", err)
	}
	tampered.cert.Certificate, tampered.cert.Leaf = [][]byte{der}, leaf

	for _, tc := range []struct {
		name           string
		client, server *tls.Config
		clientSays     string // reason, when the client refuses
		serverSays     string // reason, when the server refuses
	}{
		{"other CA at the server", alice.ClientTLS(alpn, bobID), falseBob.ServerTLS(alpn, nil), `certificate of "bob": it was signed by another authority`, ""},
		{"other CA at the client", falseAlice.clientTLSOf(alice, bobID), bob.ServerTLS(alpn, nil), "", `certificate of "alice": it was signed by another authority`},
		{"other realm", alice.ClientTLS(alpn, bobID), mustIssue(t, elsewhere, "bob", RoleNode).ServerTLS(alpn, nil), "not by that of realm lab", ""},
		{"other realm, same CA", alice.ClientTLS(alpn, bobID), odd(elsewhereBob.URI()).ServerTLS(alpn, nil), "is of realm elsewhere, not of realm lab", ""},
		{"ended", oldAlice.ClientTLS(alpn, bobID), oldBob.ServerTLS(alpn, nil), "expired", ""},
		{"not begun", late.ClientTLS(alpn, bobID), bob.ServerTLS(alpn, nil), "not yet valid", ""},
		{"somebody else", alice.ClientTLS(alpn, alice.Identity().ID), bob.ServerTLS(alpn, nil), "the peer is node bob", ""},
		{"wrong id", alice.ClientTLS(alpn, bobID), odd("qnet://lab/node/bob?id=0123456789abcdef").ServerTLS(alpn, nil), "the id of bob in realm lab is " + bobID.String(), ""},
		{"no identity", alice.ClientTLS(alpn, bobID), odd().ServerTLS(alpn, nil), "carries 0 URIs", ""},
		{"two identities", alice.ClientTLS(alpn, bobID), odd(bob.Identity().URI(), alice.Identity().URI()).ServerTLS(alpn, nil), "carries 2 URIs", ""},
		{"tampered", alice.ClientTLS(alpn, bobID), tampered.ServerTLS(alpn, nil), "signed by another authority", ""},
		{"no client certificate", withoutCertificate(alice.ClientTLS(alpn, bobID)), bob.ServerTLS(alpn, nil), "", "certificate"},
		{"not accepted", alice.ClientTLS(alpn, bobID), bob.ServerTLS(alpn, func(who Identity) error {
			return qnet.Errorf(qnet.ErrAuth, "%v is not a neighbour", who)
		}), "", "node alice (" + alice.Identity().ID.String() + ") is not a neighbour"},
		{"other protocol", alice.ClientTLS("other/1", bobID), bob.ServerTLS(alpn, nil), "", "protocol"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clientErr, serverErr := handshake(t, tc.client, tc.server)
			if clientErr == nil || serverErr == nil {
				t.Fatalf("errors: client %v, server %v; want both", clientErr, serverErr)
			}
			if tc.clientSays != "" {
				wantErr(t, clientErr, qnet.ErrAuth, tc.clientSays)
			}
			if tc.serverSays != "" && !strings.Contains(serverErr.Error(), tc.serverSays) {
				t.Errorf("server says %q, want %q", serverErr, tc.serverSays)
			}
		})
	}
}

// clientTLSOf is what somebody with the credential c would use who trusts the
// authority of friend.
func (c *Credential) clientTLSOf(friend *Credential, peer qnet.NodeID) *tls.Config {
	conf := friend.ClientTLS(alpn, peer)
	conf.Certificates = []tls.Certificate{c.cert}
	return conf
}

func withoutCertificate(conf *tls.Config) *tls.Config {
	conf.Certificates = nil
	return conf
}

func TestOldTLSRefused(t *testing.T) {
	ca := mustCA(t, "lab")
	alice, bob := mustIssue(t, ca, "alice", RoleNode), mustIssue(t, ca, "bob", RoleNode)
	client := alice.ClientTLS(alpn, bob.Identity().ID)
	client.MinVersion, client.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if clientErr, serverErr := handshake(t, client, bob.ServerTLS(alpn, nil)); clientErr == nil || serverErr == nil {
		t.Errorf("TLS 1.2: errors %v, %v; want both", clientErr, serverErr)
	}
}

func TestRotationKeepsID(t *testing.T) {
	ca := mustCA(t, "lab")
	first, second := mustIssue(t, ca, "alice", RoleNode), mustIssue(t, ca, "alice", RoleNode)
	if first.Identity() != second.Identity() {
		t.Errorf("identity changed from %v to %v", first.Identity(), second.Identity())
	}
	if first.Certificate().PublicKey.(ed25519.PublicKey).Equal(second.Certificate().PublicKey) {
		t.Error("the key did not change")
	}
	bob := mustIssue(t, ca, "bob", RoleNode)
	for _, c := range []*Credential{first, second} {
		if clientErr, serverErr := handshake(t, bob.ClientTLS(alpn, first.Identity().ID), c.ServerTLS(alpn, nil)); clientErr != nil || serverErr != nil {
			t.Error(clientErr, serverErr)
		}
	}
}

func TestCollisions(t *testing.T) {
	ca := mustCA(t, "lab")
	ca.hash = func(realm, name string) qnet.NodeID { return qnet.NodeID(len(name)) - 1 }
	mustIssue(t, ca, "bob", RoleNode)
	_, err := ca.Issue("eve", RoleNode)
	wantErr(t, err, qnet.ErrInUse, "eve", "belongs to bob")
	_, err = ca.Issue("x", RoleNode)
	wantErr(t, err, qnet.ErrInvalid, "x", "reserved")
	_, err = ca.Issue("bob", RoleFabric)
	wantErr(t, err, qnet.ErrInUse, "bob", "can not be a fabric", "is a node")
}

func TestAuthorityEnded(t *testing.T) {
	now := time.Now()
	ca, err := newCA("lab", time.Hour, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour + time.Second)
	_, err = ca.Issue("alice", RoleNode)
	wantErr(t, err, qnet.ErrExpired, "alice", "authority of realm lab ended")
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	nodes := filepath.Join(t.TempDir(), "nodes")
	ca := mustCA(t, "lab")
	alice := mustIssue(t, ca, "alice", RoleNode)
	for _, err := range []error{ca.Save(dir), alice.Save(nodes), mustIssue(t, ca, "bob", RoleStation).Save(nodes), alice.Save(nodes)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{filepath.Join(dir, "ca.key"), filepath.Join(nodes, "alice.key"), filepath.Join(nodes, "bob.key")} {
		info, err := os.Stat(file)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, error %v; want 0600", file, info.Mode(), err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(nodes, ".*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}

	back, err := Load(nodes, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if back.Identity() != alice.Identity() {
		t.Errorf("loaded %v, want %v", back.Identity(), alice.Identity())
	}
	bob, err := Load(nodes, "bob")
	if err != nil {
		t.Fatal(err)
	}
	if clientErr, serverErr := handshake(t, back.ClientTLS(alpn, bob.Identity().ID), bob.ServerTLS(alpn, nil)); clientErr != nil || serverErr != nil {
		t.Error(clientErr, serverErr)
	}

	// The authority goes on where it was, and remembers whom it knows.
	ca2, err := LoadCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	if ca2.Realm() != "lab" || !ca2.Certificate().Equal(ca.Certificate()) {
		t.Errorf("loaded another authority: realm %s", ca2.Realm())
	}
	_, err = ca2.Issue("alice", RoleFabric)
	wantErr(t, err, qnet.ErrInUse, "alice")
	carol := mustIssue(t, ca2, "carol", RoleNode)
	if clientErr, serverErr := handshake(t, carol.ClientTLS(alpn, bob.Identity().ID), bob.ServerTLS(alpn, nil)); clientErr != nil || serverErr != nil {
		t.Error(clientErr, serverErr)
	}
}

func TestFileErrors(t *testing.T) {
	ca, other := mustCA(t, "lab"), mustCA(t, "lab")
	fresh := func() string {
		dir := t.TempDir()
		for _, name := range []string{"alice", "bob"} {
			if err := mustIssue(t, ca, name, RoleNode).Save(dir); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	copyFile := func(dir, from, to string) {
		b, err := os.ReadFile(filepath.Join(dir, from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := Load(fresh(), "eve"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	_, err := Load(fresh(), "../alice")
	wantErr(t, err, qnet.ErrInvalid, "../alice")

	dir := fresh()
	if err := os.Chmod(filepath.Join(dir, "alice.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = Load(dir, "alice")
	wantErr(t, err, qnet.ErrAuth, "alice.key", "chmod 600")

	dir = fresh()
	copyFile(dir, "bob.key", "alice.key")
	_, err = Load(dir, "alice")
	wantErr(t, err, qnet.ErrAuth, "alice.key", "not the key")

	dir = fresh()
	copyFile(dir, "bob.key", "alice.key")
	copyFile(dir, "bob.crt", "alice.crt")
	_, err = Load(dir, "alice")
	wantErr(t, err, qnet.ErrAuth, "alice.crt is the certificate of node bob")

	dir = fresh()
	for _, bad := range []string{"", "not PEM", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"}))} {
		if err := os.WriteFile(filepath.Join(dir, "alice.crt"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = Load(dir, "alice")
		wantErr(t, err, qnet.ErrInvalid, "alice.crt")
	}

	dir = fresh()
	err = mustIssue(t, other, "alice", RoleNode).Save(dir)
	wantErr(t, err, qnet.ErrInUse, "ca.crt", "another authority")

	dir = fresh()
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), pem.EncodeToMemory(&pem.Block{Type: certType, Bytes: other.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(dir, "alice")
	wantErr(t, err, qnet.ErrAuth, "alice.crt", "not signed by the authority")

	err = mustIssue(t, ca, "ca", RoleNode).Save(t.TempDir())
	wantErr(t, err, qnet.ErrInvalid, "ca")

	dir = t.TempDir()
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.issued"), []byte("qnet://lab/node/eve?id=0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = LoadCA(dir)
	wantErr(t, err, qnet.ErrInvalid, "ca.issued", "the id of eve")
}

// No usual way of printing a credential shows its key.
func TestKeyIsNotPrinted(t *testing.T) {
	c := mustIssue(t, mustCA(t, "lab"), "alice", RoleNode)
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	log.Info("x", "credential", c)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "credential", c)
	fmt.Fprintf(&b, "%v %+v %#v %s", c, c, c, c)
	if !strings.Contains(b.String(), "node alice") {
		t.Errorf("printed %q", b.String())
	}
	seed := c.key().Seed()
	for _, s := range []string{hex.EncodeToString(seed), string(seed), fmt.Sprint(seed)[1:20]} {
		if strings.Contains(b.String(), s) {
			t.Errorf("key shows in %q", b.String())
		}
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	ca := mustCA(t, "lab")
	alice, bob := mustIssue(t, ca, "alice", RoleNode), mustIssue(t, ca, "bob", RoleNode)
	if err := alice.Save(dir); err != nil {
		t.Fatal(err)
	}
	again, err := Load(dir, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if alice.Secret("x") != again.Secret("x") {
		t.Error("the secret did not survive being saved")
	}
	if s := alice.Secret("x"); s == alice.Secret("y") || s == bob.Secret("x") || s == [32]byte(alice.key().Seed()) {
		t.Error("secrets of different labels or keys are equal")
	}
}

func BenchmarkVerify(b *testing.B) {
	ca, err := NewCA("lab", time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	alice, err := ca.Issue("alice", RoleNode)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := alice.Verify(alice.Certificate(), x509.ExtKeyUsageClientAuth); err != nil {
			b.Fatal(err)
		}
	}
}
