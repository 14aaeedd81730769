package estimate

import "math"

// eigen returns the eigenvalues of a symmetric matrix and its eigenvectors, which are
// the rows of vectors, by rotations of one pair of rows and columns after the other,
// each of which clears the element at which they cross (C. G. J. Jacobi, J. reine
// angew. Math. 30, 51 (1846)). Of a diagonal matrix they are the axes, to the bit.
func eigen(m [3][3]float64) (values [3]float64, vectors [3][3]float64) {
	for i := range vectors {
		vectors[i] = unit(i)
	}
	for range 30 { // it converges quadratically: a few suffice
		if m[0][1] == 0 && m[0][2] == 0 && m[1][2] == 0 {
			break
		}
		for i := range 2 {
			for j := i + 1; j < 3; j++ {
				if math.Abs(m[i][j]) <= 1e-17*(math.Abs(m[i][i])+math.Abs(m[j][j])) {
					m[i][j], m[j][i] = 0, 0
					continue
				}
				// The smaller of the two angles that clear it.
				x := (m[j][j] - m[i][i]) / (2 * m[i][j])
				t := math.Copysign(1/(math.Abs(x)+math.Hypot(x, 1)), x)
				c := 1 / math.Hypot(t, 1)
				s := t * c
				for k := range 3 {
					m[k][i], m[k][j] = c*m[k][i]-s*m[k][j], s*m[k][i]+c*m[k][j]
				}
				for k := range 3 {
					m[i][k], m[j][k] = c*m[i][k]-s*m[j][k], s*m[i][k]+c*m[j][k]
					vectors[i][k], vectors[j][k] = c*vectors[i][k]-s*vectors[j][k], s*vectors[i][k]+c*vectors[j][k]
				}
				m[i][j], m[j][i] = 0, 0
			}
		}
	}
	for i := range values {
		values[i] = m[i][i]
	}
	return values, vectors
}

func dot(a, b *[3]float64) float64 { return a[0]*b[0] + a[1]*b[1] + a[2]*b[2] }
