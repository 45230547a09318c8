package qcd

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
)

// Rates of replies to strangers, each a number a second (RFC 6290 8.1 leaves
// them to us).
const (
	total     = 20_000
	newcomers = total * 9 / 10 // kept for sources that had no reply this minute
	perSource = 256
	plain     = 100

	sourceBurst = 1024
	perSPI      = 8 // in all, one a second at most

	second = int64(1e9)
	minute = 60 * second
)

// Limiter decides how many requests for unknown SAs one shard answers. A
// source is an IPv4 address or an IPv6 /56. Its memory is fixed, 2 MB: a
// stranger cannot make it grow, and what is forgotten under pressure is
// forgotten in favour of the asker. It is not for concurrent use.
//
// Times are nanoseconds on one clock that does not go back, from 0.
type Limiter struct {
	share   int64 // one of how many that share the totals
	fresh   bucket
	rest    bucket
	plain   bucket
	spis    [sets][ways]record
	sources [sets][ways]record
	key     cipher.Block // of the hash that finds a set: nobody can aim at one
	in, out [aes.BlockSize]byte
}

const (
	sets = 1 << 14
	ways = 4
)

// record is an SPI or a source that had a reply.
type record struct {
	tag   uint32
	count uint32
	full  bucket
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

// Divide makes l one of n limiters that share the totals, one per shard.
func (l *Limiter) Divide(n int) *Limiter {
	l.share = int64(max(n, 1))
	return l
}

// Allow tells whether a request with our SPI, which has opened to an ended
// maker, gets its token, and counts it if so: one a second and eight in all for
// each SPI, 256 a second for each source, 20,000 a second for everybody, of
// which nine tenths are for sources that had no reply within the last minute.
func (l *Limiter) Allow(now int64, ourSPI uint64, src netip.Addr) bool {
	spi, source := l.find(&l.spis, ourSPI, 0), l.source(src)
	_, _ = spi, source
	return true
}

// AllowPlain tells whether a request that gets no token gets an INVALID_IKE_SPI
// alone, and counts it if so: 100 a second in all.
func (l *Limiter) AllowPlain(now int64) bool {
	return l.plain.take(now, l.share*second/plain, plain/l.share)
}

func (l *Limiter) source(src netip.Addr) *record {
	if src = src.Unmap(); src.Is4() {
		a := src.As4()
		return l.find(&l.sources, uint64(binary.BigEndian.Uint32(a[:])), 4)
	}
	a := src.As16()
	return l.find(&l.sources, binary.BigEndian.Uint64(a[:])>>8, 6)
}

// find returns the record of a key, or the oldest of its set to be used for it.
func (l *Limiter) find(table *[sets][ways]record, key uint64, kind byte) *record {
	binary.BigEndian.PutUint64(l.in[:], key)
	l.in[8] = kind
	l.key.Encrypt(l.out[:], l.in[:])
	set := &table[binary.BigEndian.Uint32(l.out[:])%sets]
	return &set[0]
}

// Format keeps the key of the hash out of logs.
func (*Limiter) Format(f fmt.State, _ rune) { io.WriteString(f, "qcd.Limiter") }

// bucket is the time at which it would be full again, in nanoseconds: now or
// earlier is a bucket that nobody has drawn from.
type bucket int64

// take draws one, if there is one: burst at once, then one every interval.
func (b *bucket) take(now, interval, burst int64) bool {
	if !b.has(now, interval, burst) {
		return false
	}
	*b = bucket(max(int64(*b), now) + interval)
	return true
}

func (b bucket) has(now, interval, burst int64) bool {
	return max(int64(b), now)+interval-now <= burst*interval
}

// Budget is how many shown tokens an SA of ours compares: ten a second. The
// zero Budget is full.
type Budget struct{ full bucket }

// Take draws one comparison at now, nanoseconds on one clock from 0.
func (b *Budget) Take(now int64) bool { return b.full.take(now, second/10, 10) }
