package qnet

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
)

// NodeID names a node or a station in one realm. It is the first 8 bytes, in
// network order, of SHA-256(realm "/" name), so it needs no registry: the
// certificate authority binds it to a key and refuses collisions. 0 is reserved
// and never names anybody.
type NodeID uint64

// NewNodeID returns the identity of name in realm.
func NewNodeID(realm, name string) NodeID {
	sum := sha256.Sum256([]byte(realm + "/" + name))
	return NodeID(binary.BigEndian.Uint64(sum[:8]))
}

// String formats the identity as 16 hexadecimal digits.
func (id NodeID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// ParseNodeID is the inverse of String.
func ParseNodeID(s string) (NodeID, error) {
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 {
		return 0, fmt.Errorf("node id %q: want 16 hexadecimal digits", s)
	}
	return NodeID(v), nil
}
