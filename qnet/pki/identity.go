// Package pki is the identity of processes: who a node, a station or a fabric
// is, the small certificate authority that says so, and the TLS configurations
// with which any two of them authenticate each other.
//
// An identity is a name in a realm. Its number, qnet.NodeID, is a hash of both,
// and the authority binds it to a key: each certificate carries exactly one URI
//
//	qnet://<realm>/<role>/<name>?id=<16 hexadecimal digits>
//
// as a subject alternative name (RFC 5280, section 4.2.1.6), in this form and no
// other. A certificate is accepted only when it comes from the authority of the
// realm, is in its time, names this realm, and its id is the hash of its name.
// The names of hosts play no part. Issuing again for the same name, with a new
// key, keeps the identity.
//
// The package does no networking and keeps no secret beyond the files it is
// asked to write. Certificates follow RFC 5280, keys are Ed25519 (RFC 8410).
package pki

import (
	"crypto/x509"
	"net/url"
	"strings"

	"qstack/qnet"
)

// Role is what an identity may act as. A name has one role for good.
type Role string

// The roles.
const (
	RoleNode    Role = "node"    // a daemon of a network node
	RoleStation Role = "station" // a heralding station of a link
	RoleFabric  Role = "fabric"  // the emulated world
	RoleOracle  Role = "oracle"  // may ask the fabric for exact states
	RoleClient  Role = "client"  // a program or an operator
)

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool {
	switch r {
	case RoleNode, RoleStation, RoleFabric, RoleOracle, RoleClient:
		return true
	}
	return false
}

// Identity is who somebody is.
type Identity struct {
	ID    qnet.NodeID // hash of realm and name, never 0
	Realm string
	Role  Role
	Name  string
}

// NewIdentity returns the identity of name in realm. Realm and name consist of
// 1 to 63 letters, digits, '-' and '_', with single dots between them. It fails
// with qnet.ErrInvalid.
func NewIdentity(realm string, role Role, name string) (Identity, error) {
	return newIdentity(qnet.NewNodeID, realm, role, name)
}

func newIdentity(hash func(realm, name string) qnet.NodeID, realm string, role Role, name string) (Identity, error) {
	if err := checkName("realm", realm); err != nil {
		return Identity{}, err
	}
	if err := checkName("name", name); err != nil {
		return Identity{}, err
	}
	if !role.Valid() {
		return Identity{}, qnet.Errorf(qnet.ErrInvalid, "pki: %s: unknown role %q", name, string(role))
	}
	id := hash(realm, name)
	if id == 0 {
		return Identity{}, qnet.Errorf(qnet.ErrInvalid, "pki: %s: its id in realm %s is 0, which is reserved: choose another name", name, realm)
	}
	return Identity{ID: id, Realm: realm, Role: role, Name: name}, nil
}

// checkName makes sure that no two pairs of realm and name hash the same text,
// and that both stand in a URI as they are.
func checkName(what, s string) error {
	if s == "" || len(s) > 63 {
		return qnet.Errorf(qnet.ErrInvalid, "pki: %s %q: want 1 to 63 characters", what, s)
	}
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		default:
			return qnet.Errorf(qnet.ErrInvalid, "pki: %s %q: character %q is not allowed: use letters, digits, '-', '_' and '.'", what, s, r)
		}
	}
	if s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return qnet.Errorf(qnet.ErrInvalid, "pki: %s %q: a dot must stand between two other characters", what, s)
	}
	return nil
}

// URI returns the form in which certificates carry the identity.
func (i Identity) URI() string {
	return "qnet://" + i.Realm + "/" + string(i.Role) + "/" + i.Name + "?id=" + i.ID.String()
}

// String formats the identity for people, as in "node alice (0123456789abcdef)".
func (i Identity) String() string {
	return string(i.Role) + " " + i.Name + " (" + i.ID.String() + ")"
}

// ParseURI is the inverse of URI. It accepts the canonical form only, with the
// id that belongs to the name, and fails with qnet.ErrAuth otherwise.
func ParseURI(s string) (Identity, error) {
	bad := func(reason string) (Identity, error) {
		return Identity{}, qnet.Errorf(qnet.ErrAuth, "pki: identity %q: %s", s, reason)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "qnet" {
		return bad("want qnet://realm/role/name?id=digits")
	}
	role, name, ok := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !ok {
		return bad("want qnet://realm/role/name?id=digits")
	}
	i, err := NewIdentity(u.Host, Role(role), name)
	if err != nil {
		return bad(strings.TrimPrefix(err.Error(), "pki: "))
	}
	id, err := qnet.ParseNodeID(u.Query().Get("id"))
	if err != nil {
		return bad(err.Error())
	}
	if id != i.ID {
		return bad("the id of " + name + " in realm " + u.Host + " is " + i.ID.String())
	}
	if i.URI() != s {
		return bad("not in the canonical form " + i.URI())
	}
	return i, nil
}

// ParseIdentity returns the identity that a certificate claims. It checks the
// form of the claim, not who signed it. It fails with qnet.ErrAuth.
func ParseIdentity(cert *x509.Certificate) (Identity, error) {
	if len(cert.URIs) != 1 {
		return Identity{}, qnet.Errorf(qnet.ErrAuth, "pki: certificate of %q carries %d URIs: want one, the identity", cert.Subject.CommonName, len(cert.URIs))
	}
	return ParseURI(cert.URIs[0].String())
}
