package local

import (
	"net"
	"os"
	"path/filepath"
	"syscall"

	"qstack/qnet"
)

// checkPeer refuses a connection whose other end is neither of this user nor of
// root.
func checkPeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err == nil {
		err = credErr
	}
	if err != nil {
		return qnet.Errorf(qnet.ErrAuth, "credentials of the other process: %v", err)
	}
	return checkUser(int(cred.Uid), os.Getuid())
}

// checkUser refuses users other than our own and root.
func checkUser(uid, own int) error {
	if uid != own && uid != 0 {
		return qnet.Errorf(qnet.ErrAuth, "the other process is of user %d; only user %d and root may use this socket", uid, own)
	}
	return nil
}

// checkFolder refuses a folder in which another user could put a socket of his
// own: it must be of this user and for this user alone, and what it lies in must
// be of this user or of root, and not for everybody to replace.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return qnet.Errorf(qnet.ErrUnavail, "folder of the socket: %v", err)
	}
	if uid := owner(info); uid != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return qnet.Errorf(qnet.ErrAuth, "the folder %s has mode %#o and belongs to user %d; it must have mode 0700 and belong to user %d", dir, info.Mode().Perm(), uid, os.Getuid())
	}
	parent := filepath.Dir(dir)
	if info, err = os.Stat(parent); err != nil {
		return qnet.Errorf(qnet.ErrUnavail, "folder of the socket: %v", err)
	}
	uid := owner(info)
	if uid != os.Getuid() && uid != 0 || info.Mode().Perm()&0o022 != 0 && info.Mode()&os.ModeSticky == 0 {
		return qnet.Errorf(qnet.ErrAuth, "other users can change the folder %s; choose another, for example with XDG_RUNTIME_DIR", parent)
	}
	return nil
}

func owner(info os.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
