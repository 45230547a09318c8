package esp

import "testing"

func BenchmarkSealGCM128(b *testing.B)    { benchmarkSeal(b, 0, 1400) }
func BenchmarkSealGCM256(b *testing.B)    { benchmarkSeal(b, 1, 1400) }
func BenchmarkSealGCM256x64(b *testing.B) { benchmarkSeal(b, 1, 64) }
func BenchmarkSealChaCha(b *testing.B)    { benchmarkSeal(b, 2, 1400) }
func BenchmarkSealCBC256(b *testing.B)    { benchmarkSeal(b, 4, 1400) }

func BenchmarkOpenGCM128(b *testing.B)    { benchmarkOpen(b, 0, 1400) }
func BenchmarkOpenGCM256(b *testing.B)    { benchmarkOpen(b, 1, 1400) }
func BenchmarkOpenGCM256x64(b *testing.B) { benchmarkOpen(b, 1, 64) }
func BenchmarkOpenChaCha(b *testing.B)    { benchmarkOpen(b, 2, 1400) }
func BenchmarkOpenCBC256(b *testing.B)    { benchmarkOpen(b, 4, 1400) }

func benchmarkSeal(b *testing.B, suite, n int) {
	o, _ := pair(b, suite, true)
	buf := make([]byte, MaxHeadLen+n+MaxTailLen)
	copy(buf[MaxHeadLen:], ipv4(n))
	b.SetBytes(int64(n))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.Seal(buf, MaxHeadLen, n, NextIPv4); err != nil {
			b.Fatal(err)
		}
	}
}

// benchmarkOpen opens one packet again and again: the window is set back.
func benchmarkOpen(b *testing.B, suite, n int) {
	o, i := pair(b, suite, true)
	packet := seal(b, o, ipv4(n), NextIPv4)
	dst := make([]byte, 0, len(packet))
	b.SetBytes(int64(n))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := i.Open(dst, packet); err != nil {
			b.Fatal(err)
		}
		i.window.top = 0
	}
}
