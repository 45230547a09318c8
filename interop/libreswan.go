package interop

import (
	"os"
	"path/filepath"
)

// trixie is the Debian 13 folder that setup.sh has made.
func trixie() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	return filepath.Join(cache, "blackswan", "trixie-libreswan-5.2-1")
}
