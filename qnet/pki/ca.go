package pki

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"time"

	"qstack/qnet"
)

// skew is how far the clocks of two processes may differ: certificates begin
// that much before they are issued.
const skew = 5 * time.Minute

// CA is the certificate authority of one realm. It is not safe for concurrent
// use.
type CA struct {
	realm  string
	cert   *x509.Certificate
	key    crypto.Signer
	issued map[qnet.NodeID]Identity
	now    func() time.Time
	hash   func(realm, name string) qnet.NodeID
}

// NewCA makes the authority of a realm, with a new key. Its certificate and
// those that it issues are valid for the given time, whose smallest value is a
// second. It fails with qnet.ErrInvalid.
func NewCA(realm string, validity time.Duration) (*CA, error) {
	return newCA(realm, validity, time.Now)
}

func newCA(realm string, validity time.Duration, now func() time.Time) (*CA, error) {
	if err := checkName("realm", realm); err != nil {
		return nil, err
	}
	if validity < time.Second {
		return nil, qnet.Errorf(qnet.ErrInvalid, "pki: realm %s: validity %v: want 1s or more", realm, validity)
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInternal, "pki: realm %s: %v", realm, err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	t := now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{realm}, CommonName: "qnet authority of " + realm},
		NotBefore:             t.Add(-skew),
		NotAfter:              t.Add(validity),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInternal, "pki: realm %s: %v", realm, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInternal, "pki: realm %s: %v", realm, err)
	}
	return &CA{realm: realm, cert: cert, key: key, issued: make(map[qnet.NodeID]Identity), now: now, hash: qnet.NewNodeID}, nil
}

func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInternal, "pki: %v", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

// Realm returns the realm of the authority.
func (ca *CA) Realm() string { return ca.realm }

// Certificate returns the authority's own certificate, which is not secret.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Issue makes a new key for name and certifies it. A name that was issued before
// keeps its identity; the earlier key stays valid until its certificate ends.
//
// It fails with qnet.ErrInvalid for a bad name or role, with qnet.ErrInUse when
// the id of the name belongs to another name or the name has another role, and
// with qnet.ErrExpired when the authority itself has ended.
func (ca *CA) Issue(name string, role Role) (*Credential, error) {
	who, err := newIdentity(ca.hash, ca.realm, role, name)
	if err != nil {
		return nil, err
	}
	if old, ok := ca.issued[who.ID]; ok && old.Name != name {
		return nil, qnet.Errorf(qnet.ErrInUse, "pki: %s: its id %v in realm %s belongs to %s: choose another name", name, who.ID, ca.realm, old.Name)
	} else if ok && old.Role != role {
		return nil, qnet.Errorf(qnet.ErrInUse, "pki: %s: can not be a %s, it is a %s in realm %s", name, role, old.Role, ca.realm)
	}
	t := ca.now()
	if !t.Before(ca.cert.NotAfter) {
		return nil, qnet.Errorf(qnet.ErrExpired, "pki: %s: the authority of realm %s ended %v: make a new one", name, ca.realm, ca.cert.NotAfter)
	}
	uri, err := url.Parse(who.URI())
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInternal, "pki: %s: %v", name, err)
	}
	cred, err := ca.sign(who, &x509.Certificate{
		Subject:     pkix.Name{Organization: []string{ca.realm}, CommonName: name},
		URIs:        []*url.URL{uri},
		NotBefore:   t.Add(-skew),
		NotAfter:    ca.cert.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, err
	}
	ca.issued[who.ID] = who
	return cred, nil
}

// sign certifies a new key with the given template.
func (ca *CA) sign(who Identity, template *x509.Certificate) (*Credential, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInternal, "pki: %s: %v", who.Name, err)
	}
	if template.SerialNumber, err = serialNumber(); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, pub, ca.key)
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInternal, "pki: %s: %v", who.Name, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInternal, "pki: %s: %v", who.Name, err)
	}
	return &Credential{
		identity: who,
		cert:     tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		root:     ca.cert,
		now:      ca.now,
	}, nil
}
