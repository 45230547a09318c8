package blackswan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// newGeneration is in the uevent that the kernel sends when this virtual
// machine was cloned or set back (Linux 6.8 and later).
var newGeneration = []byte("NEW_VMGENID=1\x00")

// watchClones takes a new epoch when this machine was cloned under us: the
// other copy has our randomness and our counters (rules B4, B6).
func (n *node) watchClones() {
	n.hearKernel(unix.NETLINK_KOBJECT_UEVENT, 1, func(event []byte) {
		if bytes.Contains(event, newGeneration) {
			n.note("this virtual machine was cloned or set back: SPIs of a new epoch from now on")
			n.nextEpoch()
		}
	})
}

// linkGroups are news of interfaces and addresses.
const linkGroups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR

// watchLinks tells when interfaces or addresses of this machine change. Those
// of our TUN are no news: they come with each Child SA.
func (n *node) watchLinks() {
	tun := 0 // no interface has this number
	if dev, err := net.InterfaceByName(n.deviceName()); err == nil && n.ownDevice {
		tun = dev.Index
	}
	n.hearKernel(unix.NETLINK_ROUTE, linkGroups, func(event []byte) {
		if !aboutLink(event, tun) {
			n.linkChanged()
		}
	})
}

// aboutLink tells whether a message of the link groups is about the interface
// with this number. It is at one place in struct ifinfomsg and struct
// ifaddrmsg (rtnetlink(7)).
func aboutLink(event []byte, index int) bool {
	const at = unix.SizeofNlMsghdr + 4
	return len(event) >= at+4 && binary.NativeEndian.Uint32(event[at:]) == uint32(index)
}

// hearKernel calls f with what the kernel tells some groups of a netlink
// protocol, until n ends. Where it tells nothing, f is never called.
func (n *node) hearKernel(protocol int, groups uint32, f func([]byte)) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return
	}
	events := os.NewFile(uintptr(fd), "netlink")
	defer events.Close()
	if unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}) != nil {
		return
	}
	n.running.Go(func() {
		<-n.stop
		events.Close() // ends the Read below
	})
	b := make([]byte, 16<<10)
	for {
		k, err := events.Read(b)
		switch {
		case err == nil:
			f(b[:k])
		case errors.Is(err, unix.ENOBUFS): // more than we could read: something changed
			f(nil)
		default:
			return
		}
	}
}
