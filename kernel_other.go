//go:build !linux

package blackswan

// watchClones and watchLinks have nobody to ask here.
func (n *node) watchClones() {}
func (n *node) watchLinks()  {}
