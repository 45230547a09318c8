package tunnel

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"golang.zx2c4.com/wireguard/tun"
)

// Open makes a TUN device of that name and MTU, or takes one that exists and is
// free; without a name it is the first free one of bs0, bs1, ... The kernel gives it segments of up to 64 KB and takes such (vnet
// headers), where it can. The device still needs addresses and routes.
func Open(name string, mtu int) (tun.Device, error) {
	what := "the TUN device " + name
	if name == "" { // the kernel counts
		name, what = "bs%d", "a TUN device"
	}
	device, err := tun.CreateTUN(name, mtu)
	if err == nil {
		return device, nil
	}
	cure := ""
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO):
		cure = ": the kernel has no /dev/net/tun; load the module (modprobe tun), in a container hand the device in (--device /dev/net/tun)"
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES):
		cure = ": it needs CAP_NET_ADMIN; run as root or give the program that capability"
	case errors.Is(err, syscall.EBUSY):
		cure = ": another program has it; stop that one or choose another name"
	case errors.Is(err, syscall.EINVAL):
		cure = ": a name has at most 15 characters, an MTU 68 to 65535 octets"
	}
	return nil, fmt.Errorf("tunnel: cannot open %s: %w%s", what, err, cure)
}
