package ike

// timeline is what is to be done, and when: a heap, the next on top.
type timeline[T any] []moment[T]

type moment[T any] struct {
	at   int64
	what T
}

// next is when the first is due; 0: nothing is to be done.
func (l timeline[T]) next() int64 {
	if len(l) == 0 {
		return 0
	}
	return l[0].at
}

func (l *timeline[T]) put(at int64, what T) {
	*l = append(*l, moment[T]{at, what})
	h := *l
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up].at <= h[i].at {
			return
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
}

// take takes the first away.
func (l *timeline[T]) take() moment[T] {
	h := *l
	top, last := h[0], len(h)-1
	h[0], h[last] = h[last], moment[T]{}
	h = h[:last]
	*l = h
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			return top
		}
		if r := down + 1; r < last && h[r].at < h[down].at {
			down = r
		}
		if h[i].at <= h[down].at {
			return top
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
}
