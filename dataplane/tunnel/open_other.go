//go:build !linux

package tunnel

import (
	"fmt"

	"golang.zx2c4.com/wireguard/tun"
)

// Open makes a TUN device of that name and MTU. It still needs addresses and
// routes.
func Open(name string, mtu int) (tun.Device, error) {
	device, err := tun.CreateTUN(name, mtu)
	if err != nil {
		return nil, fmt.Errorf("tunnel: cannot open the TUN device %s: %w; it needs an administrator's rights", name, err)
	}
	return device, nil
}
