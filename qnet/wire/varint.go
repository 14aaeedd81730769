package wire

import "encoding/binary"

// MaxUvarint is the largest integer that a varint holds.
const MaxUvarint = 1<<62 - 1

// AppendUvarint appends v in the variable-length encoding of RFC 9000, section
// 16, in its shortest form. It panics when v exceeds MaxUvarint, which no value
// read from a peer can.
func AppendUvarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(b, byte(v))
	case v < 1<<14:
		return append(b, byte(v>>8)|0x40, byte(v))
	case v < 1<<30:
		return binary.BigEndian.AppendUint32(b, uint32(v)|0x80<<24)
	case v <= MaxUvarint:
		return binary.BigEndian.AppendUint64(b, v|0xc0<<56)
	}
	panic("wire: integer exceeds 2⁶²−1")
}

// UvarintLen returns the number of bytes that v takes.
func UvarintLen(v uint64) int {
	switch {
	case v < 1<<6:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<30:
		return 4
	}
	return 8
}

// Uvarint decodes the integer at the start of b and returns it with the number
// of bytes that it took. It fails with ErrTruncated or ErrNotMinimal.
func Uvarint(b []byte) (v uint64, n int, err error) {
	if len(b) == 0 {
		return 0, 0, ErrTruncated
	}
	n = 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, 0, ErrTruncated
	}
	switch n {
	case 1:
		return uint64(b[0]), 1, nil
	case 2:
		v = uint64(binary.BigEndian.Uint16(b)) & (1<<14 - 1)
	case 4:
		v = uint64(binary.BigEndian.Uint32(b)) & (1<<30 - 1)
	default:
		v = binary.BigEndian.Uint64(b) & MaxUvarint
	}
	if UvarintLen(v) != n {
		return 0, 0, ErrNotMinimal
	}
	return v, n, nil
}
