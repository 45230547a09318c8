package qcd

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
)

// How many replies strangers get (rule A5; RFC 6290 8.1 leaves the numbers to
// us), a second where nothing else is said. The totals come in bursts of a
// tenth of a second at most.
const (
	perSPI      = 1
	perSPIEver  = 8
	perSource   = 256
	sourceBurst = 1024
	total       = 20_000
	newcomers   = total * 9 / 10 // kept for sources that had no reply within a minute
	plainTotal  = 100

	second = int64(1e9)
	minute = 60 * second
)

// Limiter decides how many requests for unknown SAs one shard answers. A
// source is an IPv4 address or an IPv6 /56. Its memory is fixed, 2 MB: a
// stranger cannot make it grow, and what is forgotten for want of room is
// forgotten in favour of who asks. It is not for concurrent use.
//
// Times are nanoseconds on one clock that begins at 0 and does not go back.
type Limiter struct {
	share int64 // one of how many that share the limits
	fresh bucket
	rest  bucket
	plain bucket

	spis, sources table

	key     cipher.Block // of the hash that finds a set: nobody can aim at one
	in, out [aes.BlockSize]byte
}

// NewLimiter is a Limiter for all replies of a node; see Divide. It panics when
// rand cannot be read.
func NewLimiter(rand io.Reader) *Limiter {
	var key [32]byte
	if _, err := io.ReadFull(rand, key[:]); err != nil {
		panic("qcd: no randomness: " + err.Error())
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // a length that is wrong here
	}
	return &Limiter{share: 1, key: block}
}

// Divide makes l one of n limiters that share the limits, one per shard, and
// returns it.
func (l *Limiter) Divide(n int) *Limiter {
	l.share = int64(max(n, 1))
	return l
}

// Allow tells whether a request with our SPI, which has opened to an ended
// maker, gets its token, and counts it if so: one a second and eight in all for
// each SPI, 256 a second for each source, 20,000 a second for everybody, of
// which nine tenths are for sources that had no reply within the last minute.
// No allocation.
func (l *Limiter) Allow(now int64, ourSPI uint64, src netip.Addr) bool {
	spi, source := l.look(&l.spis, ourSPI, kindSPI), l.lookSource(src)
	if spi.count >= perSPIEver || !spi.bucket.take(now, second/perSPI, 1) {
		return false
	}
	seen := source.count > 0 && now-int64(source.bucket) < minute
	if !l.draw(&source.bucket, now, perSource, sourceBurst) {
		return false
	}
	if (seen || !l.draw(&l.fresh, now, newcomers, newcomers/10)) &&
		!l.draw(&l.rest, now, total-newcomers, (total-newcomers)/10) { //rfc:6290-8.1-2
		return false
	}
	l.spis.put(spi)
	l.sources.put(source)
	return true
}

// AllowPlain tells whether a request that gets no token gets an INVALID_IKE_SPI
// alone, and counts it if so: 100 a second in all (rule A2).
func (l *Limiter) AllowPlain(now int64) bool {
	return l.draw(&l.plain, now, plainTotal, plainTotal/10)
}

// draw takes one from our share of a limit of rate a second.
func (l *Limiter) draw(b *bucket, now, rate, burst int64) bool {
	return b.take(now, (l.share*second+rate-1)/rate, max(burst/l.share, 1))
}

const (
	kindSPI = 1
	kindIP4 = 4
	kindIP6 = 6
)

func (l *Limiter) lookSource(src netip.Addr) found {
	if src = src.Unmap(); src.Is4() {
		a := src.As4()
		return l.look(&l.sources, uint64(binary.BigEndian.Uint32(a[:])), kindIP4)
	}
	a := src.As16()
	return l.look(&l.sources, binary.BigEndian.Uint64(a[:])>>8, kindIP6) // its /56
}

func (l *Limiter) look(t *table, key uint64, kind byte) found {
	binary.BigEndian.PutUint64(l.in[:], key)
	l.in[8] = kind
	l.key.Encrypt(l.out[:], l.in[:])
	return t.look(binary.BigEndian.Uint32(l.out[:]), binary.BigEndian.Uint32(l.out[4:]))
}

// Format keeps the key of the hash out of logs.
func (*Limiter) Format(f fmt.State, _ rune) { io.WriteString(f, "qcd.Limiter") }

// table remembers who had replies, in sets that a hash finds. In a full set the
// one goes whose bucket is full first.
type table [1 << 14][4]record

type record struct {
	tag    uint32 // more of the hash
	count  uint32 // of replies; 0: an empty record
	bucket bucket
}

// found is a copy of a record, or a new one, and its place in the table.
type found struct {
	record
	set, way uint32
}

func (t *table) look(hash, tag uint32) found {
	f := found{record: record{tag: tag}, set: hash % uint32(len(t))}
	set := &t[f.set]
	for way, r := range set {
		if r.tag == tag {
			return found{r, f.set, uint32(way)}
		}
		if r.bucket < set[f.way].bucket {
			f.way = uint32(way)
		}
	}
	return f
}

// put writes a record back that had a reply.
func (t *table) put(f found) {
	f.count++
	t[f.set][f.way] = f.record
}

// bucket is a leaky bucket: the time from which it is full again.
type bucket int64

// take draws one, if there is one: burst at once, then one every interval.
func (b *bucket) take(now, interval, burst int64) bool {
	full := max(int64(*b), now) + interval
	if full-now > burst*interval {
		return false
	}
	*b = bucket(full)
	return true
}

// Budget is how many shown tokens an SA of ours compares: ten a second (rule
// A6). The zero Budget is full.
type Budget struct{ bucket bucket }

// Take draws one comparison at now, in nanoseconds as for a Limiter.
func (b *Budget) Take(now int64) bool { return b.bucket.take(now, second/10, 10) }
