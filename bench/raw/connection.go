package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// window is what all connections share: when to measure, when to stop, how many messages are still to be sent.
type window struct {
	from, until time.Time
	limit       int64
	claimed     atomic.Int64
	closed      chan struct{}
}

func (w *window) stopped() chan struct{} {
	w.closed = make(chan struct{})
	return w.closed
}

func (w *window) stop() { close(w.closed) }

// more tells whether another request of n messages may be sent.
func (w *window) more(now time.Time, n int64) bool {
	if w.limit > 0 && w.claimed.Add(n) > w.limit {
		return false
	}
	return now.Before(w.until)
}

type connection struct {
	socket       net.Conn
	shared       *window
	slots        []request
	sentAt       []time.Time
	outstanding  int
	latencies    []uint32
	messages     int64
	total        int64
	failed       map[string]int
	failedRemark string
}

func dial(o options, number int, shared *window) (*connection, error) {
	socket, err := net.DialTimeout("tcp", o.address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	c := &connection{
		socket: socket, shared: shared, failed: map[string]int{},
		slots: make([]request, o.inflight), sentAt: make([]time.Time, o.inflight),
		latencies: make([]uint32, 0, 1<<16),
	}
	for i := range c.slots {
		if c.slots[i], err = newRequest(o, number*o.inflight+i, i); err != nil {
			socket.Close()
			return nil, err
		}
	}
	return c, nil
}

// run keeps the slots busy until the window ends, then waits for the answers that are still out.
func (c *connection) run() error {
	if err := c.socket.SetDeadline(c.shared.until.Add(drainTime)); err != nil {
		return err
	}
	out := make([]byte, 0, 1<<16)
	now := time.Now()
	for i := range c.slots {
		if c.shared.more(now, c.slots[i].messages()) {
			out = c.slots[i].append(out)
			c.sentAt[i] = now
			c.outstanding++
		}
	}
	if _, err := c.socket.Write(out); err != nil {
		return err
	}
	buffer := make([]byte, 1<<18)
	filled := 0
	for c.outstanding > 0 {
		n, err := c.socket.Read(buffer[filled:])
		if err != nil {
			return fmt.Errorf("with %d answers outstanding: %w", c.outstanding, err)
		}
		filled += n
		now = time.Now()
		position, next, err := c.take(buffer[:filled], now, out[:0])
		if err != nil {
			return err
		}
		out = next
		filled = copy(buffer, buffer[position:filled])
		if filled >= 4 {
			if need := 4 + int(binary.BigEndian.Uint32(buffer)); need > len(buffer) {
				if need > 1<<25 {
					return fmt.Errorf("an answer of %d bytes", need)
				}
				buffer = append(buffer, make([]byte, need-len(buffer))...)
			}
		}
		if len(out) > 0 {
			if _, err := c.socket.Write(out); err != nil {
				return err
			}
		}
	}
	return nil
}

// take reads all whole answers and appends the requests that follow them to out.
func (c *connection) take(data []byte, now time.Time, out []byte) (int, []byte, error) {
	inside := !now.Before(c.shared.from) && !now.After(c.shared.until)
	position := 0
	for len(data)-position >= 4 {
		size := int(binary.BigEndian.Uint32(data[position:]))
		if size < 4 || len(data)-position < 4+size {
			break
		}
		a, err := parse(data[position+4 : position+4+size])
		if err != nil {
			return 0, nil, err
		}
		position += 4 + size
		slot := a.opaque - firstOpaque
		if slot < 0 || slot >= len(c.slots) {
			return 0, nil, fmt.Errorf("an answer to request %d, which was not asked", a.opaque)
		}
		got, failure := c.slots[slot].answered(a)
		c.outstanding--
		c.total += got
		if failure != "" {
			c.failed[failure]++
			c.failedRemark = a.remark()
		} else if inside {
			c.latencies = append(c.latencies, uint32(now.Sub(c.sentAt[slot]).Microseconds()))
			c.messages += got
		}
		if c.shared.more(now, c.slots[slot].messages()) {
			out = c.slots[slot].append(out)
			c.sentAt[slot] = now
			c.outstanding++
		}
	}
	return position, out, nil
}
