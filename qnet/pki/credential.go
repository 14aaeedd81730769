package pki

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"qstack/qnet"
)

// Credential is what a process proves its identity with: a key, the
// certificate for it, and the authority that it trusts for others. It is
// immutable and safe for concurrent use. Its key shows in no log.
type Credential struct {
	identity Identity
	cert     tls.Certificate
	root     *x509.Certificate
	now      func() time.Time
}

// Identity returns whom the credential is for.
func (c *Credential) Identity() Identity { return c.identity }

// Certificate returns the certificate, which is not secret.
func (c *Credential) Certificate() *x509.Certificate { return c.cert.Leaf }

// String returns the identity, so that no way of printing shows the key.
func (c *Credential) String() string { return c.identity.String() }

// GoString returns the identity.
func (c *Credential) GoString() string { return c.identity.String() }

// LogValue returns the identity.
func (c *Credential) LogValue() slog.Value { return slog.StringValue(c.identity.String()) }

// Secret derives a secret from the key for a purpose other than TLS, named by
// label (HKDF, RFC 5869, with SHA-256). It changes with the key only.
func (c *Credential) Secret(label string) [32]byte {
	// The length is within what HKDF gives, the only reason to fail.
	b, _ := hkdf.Key(sha256.New, c.key().Seed(), nil, "qnet "+label, 32)
	return [32]byte(b)
}

func (c *Credential) key() ed25519.PrivateKey { return c.cert.PrivateKey.(ed25519.PrivateKey) }

// ServerTLS returns the configuration for accepting connections with one
// application protocol: TLS 1.3, the other side authenticated as an identity of
// this realm. accept, if not nil, may refuse an authenticated identity; its
// error becomes the reason. It is called during handshakes, from any goroutine.
func (c *Credential) ServerTLS(alpn string, accept func(Identity) error) *tls.Config {
	conf := c.config(alpn)
	conf.ClientAuth = tls.RequireAnyClientCert // verified below
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		who, err := c.verify(s, x509.ExtKeyUsageClientAuth)
		if err == nil && accept != nil {
			err = accept(who)
		}
		return err
	}
	return conf
}

// ClientTLS returns the configuration for connecting, with one application
// protocol, to the peer of the given identity: TLS 1.3, and nobody else is
// accepted at the other side.
func (c *Credential) ClientTLS(alpn string, peer qnet.NodeID) *tls.Config {
	conf := c.config(alpn)
	// What this leaves out is the name of the host, which identities do not
	// depend on; VerifyConnection checks everything else and more.
	conf.InsecureSkipVerify = true
	conf.VerifyConnection = func(s tls.ConnectionState) error {
		who, err := c.verify(s, x509.ExtKeyUsageServerAuth)
		if err == nil && who.ID != peer {
			err = qnet.Errorf(qnet.ErrAuth, "pki: the peer is %v, not %v", who, peer)
		}
		return err
	}
	return conf
}

func (c *Credential) config(alpn string) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{c.cert},
		NextProtos:   []string{alpn},
		MinVersion:   tls.VersionTLS13,
		MaxVersion:   tls.VersionTLS13,
		// Every connection proves its identity anew.
		SessionTicketsDisabled: true,
		Time:                   c.now,
	}
}

// verify returns who is at the other end of s. It fails with qnet.ErrAuth.
func (c *Credential) verify(s tls.ConnectionState, usage x509.ExtKeyUsage) (Identity, error) {
	if len(s.PeerCertificates) == 0 {
		return Identity{}, qnet.Errorf(qnet.ErrAuth, "pki: the peer has no certificate")
	}
	if len(s.PeerCertificates) > 1 {
		return Identity{}, qnet.Errorf(qnet.ErrAuth, "pki: the peer sent %d certificates: want one, signed by the authority itself", len(s.PeerCertificates))
	}
	return c.Verify(s.PeerCertificates[0], usage)
}

// Verify returns the identity in a certificate that somebody showed, having
// checked that the authority signed it for the given usage, that it is valid
// now, and that the identity is one of this realm. It fails with qnet.ErrAuth
// and a text that says why.
func (c *Credential) Verify(cert *x509.Certificate, usage x509.ExtKeyUsage) (Identity, error) {
	roots := x509.NewCertPool()
	roots.AddCert(c.root)
	_, err := cert.Verify(x509.VerifyOptions{
		Roots:       roots,
		CurrentTime: c.now(),
		KeyUsages:   []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		reason := err.Error()
		if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
			reason = fmt.Sprintf("it was signed by another authority (%q), not by that of realm %s", cert.Issuer.CommonName, c.identity.Realm)
		}
		return Identity{}, qnet.Errorf(qnet.ErrAuth, "pki: certificate of %q: %s", cert.Subject.CommonName, reason)
	}
	who, err := ParseIdentity(cert)
	if err != nil {
		return Identity{}, err
	}
	if who.Realm != c.identity.Realm {
		return Identity{}, qnet.Errorf(qnet.ErrAuth, "pki: %v is of realm %s, not of realm %s", who, who.Realm, c.identity.Realm)
	}
	return who, nil
}
