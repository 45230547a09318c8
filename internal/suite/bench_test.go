package suite

import (
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"testing"

	"blackswan/wire"
)

func BenchmarkPRF(b *testing.B) {
	for _, id := range prfIDs {
		b.Run(fmt.Sprint(8*hashLen(id)), func(b *testing.B) {
			p, message, out := newPRF(b, id), make([]byte, 100), make([]byte, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				p.Write(message)
				p.Sum(out)
			}
		})
	}
}

func BenchmarkPRFKey(b *testing.B) {
	p, key := newPRF(b, wire.PRFHMACSHA256), make([]byte, 32)
	b.ReportAllocs()
	for b.Loop() {
		p.Key(key)
	}
}

func BenchmarkPlus(b *testing.B) {
	p, seed, out := newPRF(b, wire.PRFHMACSHA256), make([]byte, 80), make([]byte, gcm256.keymat())
	b.ReportAllocs()
	for b.Loop() {
		p.plus(out, seed)
	}
}

func BenchmarkDeriveResume(b *testing.B) {
	p, k, nonce, skd := newPRF(b, wire.PRFHMACSHA256), new(Keys), make([]byte, 32), make([]byte, 32)
	b.ReportAllocs()
	for b.Loop() {
		DeriveResume(p, gcm256, k, skd, nonce, nonce, 1, 2)
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, s := range someSuites {
		b.Run(s.String(), func(b *testing.B) {
			var x Box
			msg, ek, ak := sealed(b, mrand.New(mrand.NewPCG(1, 1)), s, make([]byte, 200), 0)
			iv, at := make([]byte, s.IVLen()), 32+s.IVLen()
			b.ReportAllocs()
			for b.Loop() {
				if err := x.Seal(s, ek, ak, msg, 32, at, at+200, iv); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, s := range someSuites {
		b.Run(s.String(), func(b *testing.B) {
			var x Box
			kept, ek, ak := sealed(b, mrand.New(mrand.NewPCG(1, 1)), s, make([]byte, 200), 0)
			msg := make([]byte, len(kept))
			b.ReportAllocs()
			for b.Loop() {
				copy(msg, kept)
				if _, err := x.Open(s, ek, ak, msg, 32); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkKeyAgreement(b *testing.B) {
	for _, group := range knownGroups {
		b.Run(wire.TransformKE.Name(group), func(b *testing.B) {
			peer, err := NewKeyPair(group, rand.Reader)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				pair, err := NewKeyPair(group, rand.Reader)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := pair.Shared(peer.Public()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
