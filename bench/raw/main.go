// Raw load at the wire: prepared frames out, answers in, so that the broker and not a client is the bound.
//
// Every connection keeps a fixed number of requests in flight: the answers that one read brings are followed by as
// many new requests in one write. Latency is from that write to the read that brought the answer. The result is one
// JSON line on standard output.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"
)

// drainTime is how long answers are waited for after the last request.
const drainTime = 10 * time.Second

type options struct {
	address  string
	mode     string
	header   string
	topic    string
	group    string
	broker   string
	queues   int
	frames   int
	conns    int
	inflight int
	size     int
	batch    int
	warm     time.Duration
	measured time.Duration
	count    int64
	pid      int
}

type result struct {
	Mode         string         `json:"mode"`
	Header       string         `json:"header"`
	Connections  int            `json:"connections"`
	Inflight     int            `json:"inflight"`
	Requests     int64          `json:"requests"`
	Messages     int64          `json:"messages"`
	TotalSent    int64          `json:"total_messages"`
	Seconds      float64        `json:"seconds"`
	PerSecond    float64        `json:"messages_per_s"`
	P50          float64        `json:"p50_us"`
	P99          float64        `json:"p99_us"`
	P999         float64        `json:"p999_us"`
	Failed       map[string]int `json:"failed"`
	FailedRemark string         `json:"failed_remark,omitempty"`
	ServerCPU    float64        `json:"server_cpu_s"`
	ServerUser   float64        `json:"server_user_s"`
	ClientCPU    float64        `json:"client_cpu_s"`
}

func main() {
	o := options{}
	flag.StringVar(&o.address, "address", "127.0.0.1:10911", "the broker; loopback only")
	flag.StringVar(&o.mode, "mode", "send", "send, batch or pull")
	flag.StringVar(&o.header, "header", "json", "json or binary")
	flag.StringVar(&o.topic, "topic", "RawLoad", "topic, created by the first send when missing")
	flag.StringVar(&o.group, "group", "raw_load", "producer or consumer group")
	flag.StringVar(&o.broker, "broker", "broker-a", "broker name written into the headers")
	flag.IntVar(&o.queues, "queues", 4, "queues of the topic")
	flag.IntVar(&o.frames, "frames", 0, "different requests in turn, if that is more than there are queues")
	flag.IntVar(&o.conns, "connections", 4, "connections")
	flag.IntVar(&o.inflight, "inflight", 64, "requests in flight on each connection")
	flag.IntVar(&o.size, "size", 128, "body of a message in bytes")
	flag.IntVar(&o.batch, "batch", 32, "messages of a batch or of a pull")
	flag.DurationVar(&o.warm, "warm", time.Second, "time before the measured one")
	flag.DurationVar(&o.measured, "measured", 3*time.Second, "measured time, at most 5 minutes")
	flag.Int64Var(&o.count, "count", 0, "stop after so many messages instead, measuring all of them")
	flag.IntVar(&o.pid, "pid", 0, "process whose CPU time is reported")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "raw:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if err := check(&o); err != nil {
		return err
	}
	shared := &window{limit: o.count}
	connections := make([]*connection, o.conns)
	for i := range connections {
		c, err := dial(o, i, shared)
		if err != nil {
			return err
		}
		defer c.socket.Close()
		connections[i] = c
	}
	begin := time.Now()
	shared.from, shared.until = begin.Add(o.warm), begin.Add(o.warm+o.measured)
	if o.count > 0 {
		shared.from = begin
	}
	cpu := sampleCPU(o.pid, shared.from, shared.until, shared.stopped())
	errs := make([]error, o.conns)
	var group sync.WaitGroup
	for i, c := range connections {
		group.Add(1)
		go func(i int, c *connection) {
			defer group.Done()
			errs[i] = c.run()
		}(i, c)
	}
	group.Wait()
	ended := time.Now()
	shared.stop()
	used := <-cpu
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	seconds := o.measured.Seconds()
	if o.count > 0 {
		seconds = ended.Sub(begin).Seconds()
	}
	return json.NewEncoder(os.Stdout).Encode(sum(o, connections, seconds, used))
}

func check(o *options) error {
	if len(o.address) < 10 || o.address[:10] != "127.0.0.1:" {
		return fmt.Errorf("address %q: loads go to 127.0.0.1 only", o.address)
	}
	if o.measured > 5*time.Minute || o.warm > 5*time.Minute {
		return fmt.Errorf("at most 5 minutes")
	}
	if o.conns < 1 || o.inflight < 1 || o.inflight > 100000 || o.conns*o.inflight > 1000000 || o.queues < 1 || o.frames > 1000000 {
		return fmt.Errorf("connections, inflight, queues and frames out of range")
	}
	if o.count > 0 {
		o.measured = 5 * time.Minute
	}
	return nil
}

func sum(o options, connections []*connection, seconds float64, used cpuTimes) result {
	all := []uint32{}
	r := result{Mode: o.mode, Header: o.header, Connections: o.conns, Inflight: o.inflight, Seconds: seconds, Failed: map[string]int{}}
	for _, c := range connections {
		all = append(all, c.latencies...)
		r.Messages += c.messages
		r.TotalSent += c.total
		for code, n := range c.failed {
			r.Failed[code] += n
		}
		if c.failedRemark != "" {
			r.FailedRemark = c.failedRemark
		}
	}
	r.Requests = int64(len(all))
	r.PerSecond = float64(r.Messages) / seconds
	r.P50, r.P99, r.P999 = percentiles(all)
	r.ServerCPU, r.ServerUser, r.ClientCPU = used.server, used.serverUser, used.client
	return r
}
