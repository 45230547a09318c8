package tunnel

import "slices"

// waiting holds a client's packets while there is no Child SA for them: none
// leaves in clear, and a TCP that began while the tunnel was away loses no
// second (rule E9). sender.mu guards it.
type waiting struct {
	most   int // octets of packets; 0: nothing waits
	octets int
	line   []held
	since  uint64 // count of installations when line was looked through last
}

// held is a packet behind headroom, with tailroom.
type held struct {
	buf  []byte
	size int
}

// hold lets a copy of the packet b wait, or drops it. sender.mu is held.
func (p *Plane) hold(b []byte) {
	w := &p.sender.wait
	if len(b) > w.most {
		p.drop(nil, noChild)
		return
	}
	buf := make([]byte, headroom+len(b)+tailroom)
	copy(buf[headroom:], b)
	w.line = append(w.line, held{buf, len(b)})
	w.octets += len(b)
	drop := 0
	for ; w.octets > w.most; drop++ {
		w.octets -= w.line[drop].size
		p.drop(nil, overflow)
	}
	w.line = w.line[drop:]
}

// release sends what waits and fits a Child SA that was installed since. The
// rest waits on, in its order. sender.mu is held.
func (p *Plane) release() {
	w := &p.sender.wait
	if len(w.line) == 0 {
		return
	}
	p.mu.RLock()
	installs := p.installs
	p.mu.RUnlock()
	if installs == w.since {
		return
	}
	w.since = installs
	line := w.line
	w.line, w.octets = nil, 0
	for batch := range slices.Chunk(line, len(p.sender.heads)) {
		bufs, sizes := make([][]byte, len(batch)), make([]int, len(batch))
		for i, held := range batch {
			bufs[i], sizes[i] = held.buf, held.size
		}
		p.send(bufs, sizes)
	}
}

// forget drops what waits. sender.mu is held.
func (w *waiting) forget() { w.line, w.octets = nil, 0 }
