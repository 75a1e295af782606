package main

import (
	"bytes"
	"os"
	"sort"
	"strconv"
	"syscall"
	"time"
)

// ticksPerSecond is USER_HZ, which Linux shows to programs as 100 on every architecture.
const ticksPerSecond = 100

// cpuTimes is in seconds; serverUser is the part of server that was not spent in the kernel.
type cpuTimes struct{ server, serverUser, client float64 }

// sampleCPU reads the CPU time of a process and of this one at both ends of the window.
func sampleCPU(pid int, from, until time.Time, stopped <-chan struct{}) <-chan cpuTimes {
	done := make(chan cpuTimes, 1)
	go func() {
		time.Sleep(time.Until(from))
		user, system := processCPU(pid)
		client := ownCPU()
		select {
		case <-time.After(time.Until(until)):
		case <-stopped:
		}
		userThen, systemThen := processCPU(pid)
		done <- cpuTimes{userThen - user + systemThen - system, userThen - user, ownCPU() - client}
	}()
	return done
}

// processCPU gives user and system time of a process in seconds, 0 without a process.
func processCPU(pid int) (float64, float64) {
	if pid == 0 {
		return 0, 0
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	user, _ := strconv.Atoi(string(fields[11]))
	system, _ := strconv.Atoi(string(fields[12]))
	return float64(user) / ticksPerSecond, float64(system) / ticksPerSecond
}

func ownCPU() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// percentiles gives p50, p99 and p99.9; it sorts its argument.
func percentiles(all []uint32) (float64, float64, float64) {
	if len(all) == 0 {
		return 0, 0, 0
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	at := func(share float64) float64 {
		i := int(share * float64(len(all)))
		if i >= len(all) {
			i = len(all) - 1
		}
		return float64(all[i])
	}
	return at(0.5), at(0.99), at(0.999)
}
