package udp

import "fmt"

// MaxGroup is the most Conns that share their ports: an SPI has 6 bits for the
// shard.
const MaxGroup = 64

// Group opens n Conns, 1 to MaxGroup, on the same ports. Each message comes to
// the Conn whose index is the shard number in our SPI, modulo n, if Steered;
// else the kernel spreads messages by address and Shard tells where each
// belongs. A group is closed as a whole: with one Conn or ESPPort gone the
// kernel would number the others anew. Ports that anyone else holds are an
// error.
func Group(n int, cfg Config) ([]*Conn, error) {
	if n < 1 || n > MaxGroup {
		return nil, fmt.Errorf("udp: a group of %d sockets: 1 to %d are possible", n, MaxGroup)
	}
	if n == 1 && (cfg.ESP == nil || !shares) {
		cfg.Reuse = false
		c, err := Listen(cfg)
		if err != nil {
			return nil, err
		}
		return []*Conn{c}, nil
	}
	var err error
	if cfg.IKEPort, cfg.NATPort, err = reserve(cfg, true, true); err != nil {
		return nil, err
	}
	cfg.Reuse = true
	group := make([]*Conn, 0, n)
	for range n { // the kernel numbers the sockets of a port in this order
		c, err := open(cfg)
		if err != nil {
			return nil, closeGroup(group, err)
		}
		group = append(group, c)
	}
	steer := newSteering(n)
	steer.esp = cfg.ESP != nil && group[0].batched()
	taken := group[0].attach(&steer)
	steer.kernel = taken || n == 1
	if cfg.ESP != nil {
		for _, c := range group { // behind all IKE sockets: their numbers go on
			if err := c.openESP(steer.esp && taken); err != nil {
				return nil, closeGroup(group, err)
			}
		}
	}
	for _, c := range group {
		c.steer = steer
		c.start()
	}
	return group, nil
}

// closeGroup closes what was opened until the error.
func closeGroup(group []*Conn, err error) error {
	for _, c := range group {
		c.closeSockets()
	}
	return err
}

// attach gives the kernel the steering of each port. It is false when the
// kernel does not take it.
func (c *Conn) attach(steer *steering) bool {
	for _, s := range c.sockets {
		if steerGroup(s.rc, steer.program(s.nat)) != nil {
			return false
		}
	}
	return true
}
