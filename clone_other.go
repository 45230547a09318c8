//go:build !linux

package blackswan

// watchClones has nobody to ask here.
func (n *node) watchClones() {}
