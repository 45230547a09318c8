//go:build !linux

package blackswan

import "time"

// asleep is not known here.
func asleep() (time.Duration, bool) { return 0, false }

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
