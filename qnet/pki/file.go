package pki

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"qstack/qnet"
)

// The files of a folder. A credential's are named after it.
const (
	rootFile    = "ca.crt"    // the authority's certificate
	rootKeyFile = "ca.key"    // the authority's key, in the authority's folder only
	issuedFile  = "ca.issued" // one identity a line, in the authority's folder only
	certSuffix  = ".crt"
	keySuffix   = ".key"
)

const (
	certType = "CERTIFICATE"
	keyType  = "PRIVATE KEY" // PKCS #8
)

// Save writes the credential to the folder dir, which is made if it is not
// there: the certificate to <name>.crt, the key to <name>.key with mode 0600,
// and the certificate of the authority to ca.crt. It replaces an earlier
// credential of the same name, and fails with qnet.ErrInUse when the folder
// belongs to another authority.
func (c *Credential) Save(dir string) error {
	key, err := x509.MarshalPKCS8PrivateKey(c.cert.PrivateKey)
	if err != nil {
		return qnet.Errorf(qnet.ErrInternal, "pki: %s: %v", c.identity.Name, err)
	}
	if c.identity.Name == strings.TrimSuffix(rootFile, certSuffix) {
		return qnet.Errorf(qnet.ErrInvalid, "pki: a credential of the name %s can not be saved, its files would be those of the authority", c.identity.Name)
	}
	if err := saveRoot(dir, c.root); err != nil {
		return err
	}
	base := filepath.Join(dir, c.identity.Name)
	if err := writePEM(base+keySuffix, 0o600, keyType, key); err != nil {
		return err
	}
	return writePEM(base+certSuffix, 0o644, certType, c.cert.Certificate[0])
}

// Load reads the credential of name from dir. It fails with the error of the
// file system when a file is not there, and with qnet.ErrAuth when others than
// the owner may read the key, or when the files do not belong together.
func Load(dir, name string) (*Credential, error) {
	if err := checkName("name", name); err != nil {
		return nil, err
	}
	root, err := readCert(filepath.Join(dir, rootFile))
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, name+certSuffix)
	leaf, err := readCert(file)
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, name+keySuffix), leaf)
	if err != nil {
		return nil, err
	}
	who, err := ParseIdentity(leaf)
	if err != nil {
		return nil, err
	}
	if who.Name != name {
		return nil, qnet.Errorf(qnet.ErrAuth, "pki: %s is the certificate of %v", file, who)
	}
	if err := leaf.CheckSignatureFrom(root); err != nil {
		return nil, qnet.Errorf(qnet.ErrAuth, "pki: %s: not signed by the authority in %s: %v", file, rootFile, err)
	}
	return &Credential{
		identity: who,
		cert:     tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf},
		root:     root,
		now:      time.Now,
	}, nil
}

// Save writes the authority to the folder dir, which is made if it is not
// there: its certificate, its key with mode 0600, and the list of the
// identities that it issued, by which it refuses collisions later.
func (ca *CA) Save(dir string) error {
	key, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return qnet.Errorf(qnet.ErrInternal, "pki: realm %s: %v", ca.realm, err)
	}
	if err := saveRoot(dir, ca.cert); err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, rootKeyFile), 0o600, keyType, key); err != nil {
		return err
	}
	var lines []string
	for _, who := range ca.issued {
		lines = append(lines, who.URI()+"\n")
	}
	slices.Sort(lines)
	return writeFile(filepath.Join(dir, issuedFile), 0o644, []byte(strings.Join(lines, "")))
}

// LoadCA reads the authority in the folder dir. It fails as Load does.
func LoadCA(dir string) (*CA, error) {
	file := filepath.Join(dir, rootFile)
	cert, err := readCert(file)
	if err != nil {
		return nil, err
	}
	if !cert.IsCA || len(cert.Subject.Organization) != 1 {
		return nil, qnet.Errorf(qnet.ErrAuth, "pki: %s: not the certificate of an authority", file)
	}
	realm := cert.Subject.Organization[0]
	if err := checkName("realm", realm); err != nil {
		return nil, qnet.Errorf(qnet.ErrAuth, "pki: %s: %v", file, err)
	}
	key, err := readKey(filepath.Join(dir, rootKeyFile), cert)
	if err != nil {
		return nil, err
	}
	ca := &CA{realm: realm, cert: cert, key: key, issued: make(map[qnet.NodeID]Identity), now: time.Now, hash: qnet.NewNodeID}
	file = filepath.Join(dir, issuedFile)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		who, err := ParseURI(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, qnet.Errorf(qnet.ErrInvalid, "pki: %s: %v", file, err)
		}
		ca.issued[who.ID] = who
	}
	return ca, nil
}

// saveRoot writes the certificate of the authority, unless it is there.
func saveRoot(dir string, root *x509.Certificate) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, rootFile)
	old, err := readCert(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writePEM(file, 0o644, certType, root.Raw)
	case err != nil:
		return err
	case !old.Equal(root):
		return qnet.Errorf(qnet.ErrInUse, "pki: %s belongs to another authority (%q): use another folder", file, old.Subject.CommonName)
	}
	return nil
}

func writePEM(file string, mode fs.FileMode, typ string, der []byte) error {
	return writeFile(file, mode, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
}

// writeFile replaces the file as a whole; at no instant is there half of it, or
// one with a wider mode.
func writeFile(file string, mode fs.FileMode, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

func readPEM(file, typ string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != typ || len(bytes.TrimSpace(rest)) > 0 {
		return nil, qnet.Errorf(qnet.ErrInvalid, "pki: %s: want one PEM block of type %s", file, typ)
	}
	return block.Bytes, nil
}

func readCert(file string) (*x509.Certificate, error) {
	der, err := readPEM(file, certType)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "pki: %s: %v", file, err)
	}
	return cert, nil
}

// readKey reads the key that belongs to cert. Its errors say nothing of what is
// in the file.
func readKey(file string, cert *x509.Certificate) (crypto.Signer, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, qnet.Errorf(qnet.ErrAuth, "pki: %s: mode %v lets others read the key: chmod 600 it", file, info.Mode().Perm())
	}
	der, err := readPEM(file, keyType)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, qnet.Errorf(qnet.ErrInvalid, "pki: %s: not a PKCS #8 key", file)
	}
	signer, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, qnet.Errorf(qnet.ErrInvalid, "pki: %s: not an Ed25519 key", file)
	}
	if pub, ok := cert.PublicKey.(ed25519.PublicKey); !ok || !pub.Equal(signer.Public()) {
		return nil, qnet.Errorf(qnet.ErrAuth, "pki: %s: not the key of the certificate of %q", file, cert.Subject.CommonName)
	}
	return signer, nil
}
