package blackswan

import (
	"time"

	"golang.org/x/sys/unix"
)

// asleep is how long this machine has slept since it started: CLOCK_BOOTTIME
// goes on then and CLOCK_MONOTONIC does not (rule D11). It reports false where
// the system cannot tell.
func asleep() (time.Duration, bool) {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0, false
	}
	return time.Duration(boot.Nano() - mono.Nano()), true
}

// cpuTime is what this process has used of the CPUs, user and system.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
