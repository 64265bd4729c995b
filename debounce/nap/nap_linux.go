package nap

import (
	"syscall"
	"time"
)

func sleep(d time.Duration) {
	left := syscall.NsecToTimespec(d.Nanoseconds())
	for {
		now := left
		if syscall.Nanosleep(&now, &left) != syscall.EINTR {
			return
		}
	}
}
