package blackswan

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// newGeneration is in the uevent that the kernel sends when this virtual
// machine was cloned or set back (Linux 6.8 and later).
var newGeneration = []byte("NEW_VMGENID=1\x00")

// watchClones takes a new epoch when this machine was cloned under us: the
// other copy has our randomness and our counters (rules B4, B6). Where the
// kernel does not tell, nobody does.
func (n *node) watchClones() {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return
	}
	events := os.NewFile(uintptr(fd), "uevents")
	defer events.Close()
	if unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}) != nil {
		return
	}
	n.running.Go(func() {
		<-n.stop
		events.Close() // ends the Read below
	})
	b := make([]byte, 16<<10)
	for {
		k, err := events.Read(b)
		if err != nil {
			return
		}
		if bytes.Contains(b[:k], newGeneration) {
			n.note("this virtual machine was cloned or set back: SPIs of a new epoch from now on")
			n.nextEpoch()
		}
	}
}
