package local

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"qstack/qnet"
)

// MaxPath is the longest path that a unix socket can have on Linux, in bytes.
const MaxPath = 107

// Dir returns the folder that holds a folder for each network of this user:
// $XDG_RUNTIME_DIR/qnet, or qnet-UID in the temporary folder.
func Dir() string {
	if d := os.Getenv("XDG_RUNTIME_DIR"); d != "" {
		return filepath.Join(d, "qnet")
	}
	return filepath.Join(os.TempDir(), "qnet-"+strconv.Itoa(os.Getuid()))
}

// Path returns the path of the socket of a node.
func Path(network, node string) string { return filepath.Join(Dir(), network, node+".sock") }

// Find returns the path of the socket of a node. If network is empty it is that
// of the environment variable QNET_NETWORK or, where that is empty too, the only
// one that has a socket for such a node.
//
// It fails with qnet.ErrUnknown when there is no socket, and with
// qnet.ErrInvalid when more than one network has one.
func Find(network, node string) (string, error) {
	if node == "" || node != filepath.Base(node) || strings.HasPrefix(node, ".") {
		return "", qnet.Errorf(qnet.ErrInvalid, "%q is not the name of a node", node)
	}
	if network == "" {
		network = os.Getenv("QNET_NETWORK")
	}
	if network != "" {
		path := Path(network, node)
		if _, err := os.Stat(path); err != nil {
			return "", qnet.Errorf(qnet.ErrUnknown, "no daemon of %s in network %s: there is no socket %s; start it with qnoded, or check the names", node, network, path)
		}
		return path, nil
	}
	found, err := filepath.Glob(filepath.Join(Dir(), "*", node+".sock"))
	switch {
	case err != nil:
		return "", qnet.Errorf(qnet.ErrInvalid, "%q is not the name of a node", node)
	case len(found) == 0:
		return "", qnet.Errorf(qnet.ErrUnknown, "no daemon of %s: there is no socket of that name below %s; start it with qnoded, or check the name", node, Dir())
	case len(found) > 1:
		var networks []string
		for _, f := range found {
			networks = append(networks, filepath.Base(filepath.Dir(f)))
		}
		return "", qnet.Errorf(qnet.ErrInvalid, "networks %s have a node %s; choose one with QNET_NETWORK", strings.Join(networks, ", "), node)
	}
	return found[0], nil
}

// Prepare makes the folder of a socket, only for this user, and removes a socket
// that nobody listens on any more. It fails with qnet.ErrAuth when other users
// could change the folder, and with qnet.ErrInUse when somebody listens.
func Prepare(path string) error {
	if len(path) > MaxPath {
		return qnet.Errorf(qnet.ErrInvalid, "the path %s is longer than the %d bytes that a unix socket may have; choose a shorter folder", path, MaxPath)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return qnet.Errorf(qnet.ErrUnavail, "folder of the socket: %v", err)
	}
	if err := checkFolder(dir); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return qnet.Errorf(qnet.ErrInUse, "%s is in the way of the socket; remove it", path)
	}
	if alive(path) {
		return qnet.Errorf(qnet.ErrInUse, "a daemon listens on %s already; stop it first", path)
	}
	if err := os.Remove(path); err != nil {
		return qnet.Errorf(qnet.ErrUnavail, "old socket: %v", err)
	}
	return nil
}

// alive reports whether somebody listens on the socket.
func alive(path string) bool {
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
