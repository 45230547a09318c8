package tunnel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"blackswan/dataplane"
)

const (
	movedAgain   = time.Second // the shortest time between two reports of one Child SA (rule G3)
	mostUnknown  = 200         // reports of unknown SPIs in a second
	mostTooBig   = 500         // ICMP messages in a second
	wornSequence = 15 << 28    // of 2^32 sequence numbers: 15 of 16 are used
)

// Reports is dataplane.Plane's.
func (p *Plane) Reports() <-chan dataplane.Report { return p.reports }

// report tells what was seen, unless too much of it waits already. It never
// waits itself.
func (p *Plane) report(r dataplane.Report) bool {
	p.telling.Lock()
	defer p.telling.Unlock()
	if p.deaf || len(p.reports) >= mostReports && r.Kind != dataplane.Broken {
		return false
	}
	p.reports <- r // has room: Broken comes once
	return true
}

func (p *Plane) endReports() {
	p.telling.Lock()
	defer p.telling.Unlock()
	p.deaf = true
	close(p.reports)
}

// limiter lets a number of events pass in each second.
type limiter struct {
	mu     sync.Mutex
	second time.Duration
	count  int
}

func (l *limiter) allow(now time.Duration, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if second := now.Truncate(time.Second); second != l.second {
		l.second, l.count = second, 0
	}
	l.count++
	return l.count <= most
}

// once reports something about c that is told only once.
func (p *Plane) once(c *child, told *atomic.Bool, kind dataplane.ReportKind) {
	if told.CompareAndSwap(false, true) && !p.report(dataplane.Report{Kind: kind, SPI: c.spiIn}) {
		told.Store(false)
	}
}

// lose tells that the plane lost something that it cannot work without. The
// first loss counts; the rest follow from it.
func (p *Plane) lose(err error) {
	select {
	case <-p.done: // nothing is lost, we let go of it
		return
	default:
	}
	if p.broken.CompareAndSwap(false, true) {
		p.report(dataplane.Report{Kind: dataplane.Broken, Err: err})
	}
}

// deviceError says what happened to the device and what to do.
func deviceError(device tun.Device, err error) error {
	name, _ := device.Name() // empty when it is gone before anyone asked
	if errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("tunnel: the TUN device %s is gone: somebody deleted it (ip link delete); start again to make a new one", name)
	}
	return fmt.Errorf("tunnel: the TUN device %s gives no packets any more: %w; start again to make a new one", name, err)
}

// portError says which port ended.
func portError(port netip.AddrPort, err error) error {
	if errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("tunnel: the socket for ESP on %s was closed by somebody else; start again", port)
	}
	return fmt.Errorf("tunnel: the socket for ESP on %s gives no packets any more: %w; start again", port, err)
}
