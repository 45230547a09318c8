package blackswan

import (
	"encoding/binary"
	"net"
	"syscall"
	"testing"
)

// TestAboutLink: in what the kernel itself says of links and addresses, each
// message is about the loopback interface or it is not, and no short one is.
func TestAboutLink(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for name, about := range map[string]struct {
		kind int
		news uint16
	}{
		"links":     {syscall.RTM_GETLINK, syscall.RTM_NEWLINK},
		"addresses": {syscall.RTM_GETADDR, syscall.RTM_NEWADDR},
	} {
		dump, err := syscall.NetlinkRIB(about.kind, syscall.AF_UNSPEC)
		if err != nil {
			t.Fatal(err)
		}
		ofLo, ofNone := 0, 0
		for len(dump) >= syscall.SizeofNlMsghdr {
			length := int(binary.NativeEndian.Uint32(dump))
			message := dump[:length]
			dump = dump[min(len(dump), (length+3)&^3):]
			if binary.NativeEndian.Uint16(message[4:]) != about.news {
				continue
			}
			if aboutLink(message, lo.Index) {
				ofLo++
			}
			if aboutLink(message, 1<<30) {
				ofNone++
			}
			if aboutLink(message[:19], lo.Index) {
				t.Errorf("%s: 19 octets say which link they are about", name)
			}
		}
		if ofLo == 0 || ofNone != 0 {
			t.Errorf("%s: %d messages about lo, %d about a link that is not there", name, ofLo, ofNone)
		}
	}
}
