package link

// latest holds the latest of what it is given, up to a number, in no order.
type latest[T any] struct {
	items []T
	next  int // that goes when there are so many
}

func (l *latest[T]) add(v T, most int) {
	if len(l.items) < most {
		l.items = append(l.items, v)
		return
	}
	l.items[l.next] = v
	l.next = (l.next + 1) % most
}

// find returns one for which f holds, nil if there is none.
func (l *latest[T]) find(f func(*T) bool) *T {
	for i := range l.items {
		if f(&l.items[i]) {
			return &l.items[i]
		}
	}
	return nil
}

func (l *latest[T]) clear() { l.items, l.next = l.items[:0], 0 }
