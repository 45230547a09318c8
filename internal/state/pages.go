package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"blackswan/store"
)

// Sizes of the tables that are written in pages.
const (
	// PageSlots is how many records one value of the store holds at most.
	PageSlots = 4096
	// MaxSlots bounds a table: 256 pages, a million records.
	MaxSlots = 256 * PageSlots
	// MaxRecord is the largest record, in octets: a full page is well under
	// store.MaxValue.
	MaxRecord = 512
)

// A page:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Version = 1  |   Reserved    |          Record size          |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~           Slots in use: a bit each, 512 octets                ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	~             The records in use, in order of slot              ~
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const (
	pageVersion = 1
	pageHeader  = 4
	bitmapSize  = PageSlots / 8
)

// Pages is a table of fixed records that is kept in a store, a value per
// PageSlots of them: one record per SA would cost the store ten times as much.
// It belongs to one goroutine.
type Pages struct {
	store  store.Store
	prefix string
	size   int
	pages  []*page // by number; nil until a slot of it is set
	dirty  []int   // numbers of the pages that differ from the store's
}

type page struct {
	used    [bitmapSize]byte
	count   int
	records []byte // PageSlots of size
	dirty   bool
}

// NewPages returns an empty table whose pages lie below prefix. It neither
// reads nor changes what is there already. A record has recordSize octets. The
// store is a Sealed one: addresses of clients are no one else's business.
func NewPages(s store.Store, prefix string, recordSize int) *Pages {
	if recordSize < 1 || recordSize > MaxRecord {
		panic(fmt.Sprintf("state: pages of records of %d octets: want 1 to %d", recordSize, MaxRecord))
	}
	return &Pages{store: s, prefix: prefix, size: recordSize}
}

// Set copies rec into a slot, 0 to MaxSlots-1.
func (p *Pages) Set(slot int, rec []byte) {
	if len(rec) != p.size {
		panic(fmt.Sprintf("state: record of %d octets in pages of %d", len(rec), p.size))
	}
	pg := p.touch(slot)
	i := slot % PageSlots
	copy(pg.records[i*p.size:], rec)
	if pg.used[i/8]&(1<<(i%8)) == 0 {
		pg.used[i/8] |= 1 << (i % 8)
		pg.count++
	}
}

// Clear empties a slot.
func (p *Pages) Clear(slot int) {
	if slot/PageSlots >= len(p.pages) || p.pages[slot/PageSlots] == nil {
		return
	}
	i := slot % PageSlots
	if pg := p.pages[slot/PageSlots]; pg.used[i/8]&(1<<(i%8)) != 0 {
		p.touch(slot)
		clear(pg.records[i*p.size : (i+1)*p.size])
		pg.used[i/8] &^= 1 << (i % 8)
		pg.count--
	}
}

// touch returns the page of a slot and marks it as changed.
func (p *Pages) touch(slot int) *page {
	if slot < 0 || slot >= MaxSlots {
		panic(fmt.Sprintf("state: slot %d of %d", slot, MaxSlots))
	}
	n := slot / PageSlots
	for n >= len(p.pages) {
		p.pages = append(p.pages, nil)
	}
	if p.pages[n] == nil {
		p.pages[n] = &page{records: make([]byte, PageSlots*p.size)}
	}
	if !p.pages[n].dirty {
		p.pages[n].dirty = true
		p.dirty = append(p.dirty, n)
	}
	return p.pages[n]
}

// Flush writes the pages that changed, behind and in one batch. After an error
// they are still to be written.
func (p *Pages) Flush(ctx context.Context) error {
	if len(p.dirty) == 0 {
		return nil
	}
	ops := make([]store.Op, len(p.dirty))
	for i, n := range p.dirty {
		ops[i] = store.Op{Key: p.pageKey(n)}
		if pg := p.pages[n]; pg.count > 0 {
			ops[i].Value = p.encode(pg)
		}
	}
	if err := p.store.Apply(ctx, ops, store.Behind); err != nil {
		return fmt.Errorf("state: write table %q: %w", p.prefix, err)
	}
	for _, n := range p.dirty {
		if p.pages[n].dirty = false; p.pages[n].count == 0 {
			p.pages[n] = nil
		}
	}
	p.dirty = p.dirty[:0]
	return nil
}

func (p *Pages) pageKey(n int) []byte { return fmt.Appendf(nil, "%s%02x", p.prefix, n) }

func (p *Pages) encode(pg *page) []byte {
	b := make([]byte, 0, pageHeader+bitmapSize+pg.count*p.size)
	b = append(b, pageVersion, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(p.size))
	b = append(b, pg.used[:]...)
	for i := range PageSlots {
		if pg.used[i/8]&(1<<(i%8)) != 0 {
			b = append(b, pg.records[i*p.size:(i+1)*p.size]...)
		}
	}
	return b
}

// Load calls f with what the store holds below the prefix, tables of longer
// prefixes included. rec is valid for the call only. The table in memory stays
// as it is. A page that does not open ends it with an error that names the page.
func (p *Pages) Load(ctx context.Context, f func(slot int, rec []byte)) error {
	return p.store.List(ctx, []byte(p.prefix), func(e store.Entry) error {
		n, err := pageNumber(e.Key)
		if err == nil {
			err = decodePage(e.Value, p.size, n*PageSlots, f)
		}
		if err != nil {
			return fmt.Errorf("state: page %q: %w", e.Key, err)
		}
		return nil
	})
}

var errPage = errors.New("not a page of this table")

// pageNumber reads the two digits that end a page's key.
func pageNumber(key []byte) (n int, err error) {
	if len(key) < 2 {
		return 0, errPage
	}
	for _, c := range key[len(key)-2:] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | int(c-'a'+10)
		default:
			return 0, errPage
		}
	}
	return n, nil
}

// decodePage calls f only if all of b is a page.
func decodePage(b []byte, size, first int, f func(slot int, rec []byte)) error {
	if len(b) < pageHeader+bitmapSize || b[0] != pageVersion || b[1] != 0 || int(binary.BigEndian.Uint16(b[2:])) != size {
		return errPage
	}
	used, records := b[pageHeader:pageHeader+bitmapSize], b[pageHeader+bitmapSize:]
	count := 0
	for i := range PageSlots {
		count += int(used[i/8] >> (i % 8) & 1)
	}
	if len(records) != count*size {
		return errPage
	}
	for i := range PageSlots {
		if used[i/8]&(1<<(i%8)) != 0 {
			f(first+i, records[:size])
			records = records[size:]
		}
	}
	return nil
}

// DropAll deletes what the store holds below the prefix, tables of longer
// prefixes included, and empties the table in memory. The deletion is written
// behind: what is set and flushed next reaches the disk with it or after it.
func (p *Pages) DropAll(ctx context.Context) error {
	var ops []store.Op
	err := p.store.List(ctx, []byte(p.prefix), func(e store.Entry) error {
		ops = append(ops, store.Op{Key: append([]byte{}, e.Key...)})
		return nil
	})
	if err == nil {
		err = p.store.Apply(ctx, ops, store.Behind)
	}
	if err != nil {
		return fmt.Errorf("state: drop table %q: %w", p.prefix, err)
	}
	p.pages, p.dirty = nil, nil
	return nil
}
