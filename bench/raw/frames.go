package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

const (
	firstOpaque = 1000000
	version     = 513 // MQVersion of 5.5.0
)

// request is one slot: the same request over and over, with what has to differ patched in.
type request interface {
	append(out []byte) []byte
	messages() int64
	// answered gives the number of messages that the answer stands for, and a word when it was a failure.
	answered(a answer) (int64, string)
}

type field struct{ key, value string }

func newRequest(o options, number, slot int) (request, error) {
	queue := number % o.queues
	opaque := firstOpaque + slot
	switch o.mode {
	case "send", "batch":
		slots := o.conns * o.inflight
		frames := o.queues
		if o.frames > frames {
			frames = o.frames
		}
		if frames <= slots {
			return newSend(o, number, queue, opaque)
		}
		all := &spread{}
		for ; number < frames; number += slots {
			one, err := newSend(o, number, number%o.queues, opaque)
			if err != nil {
				return nil, err
			}
			if len(all.sends) > 0 {
				one.counter = all.sends[0].counter
			}
			all.sends = append(all.sends, one)
		}
		return all, nil
	case "pull":
		return &pull{o: o, queue: queue, opaque: opaque}, nil
	}
	return nil, fmt.Errorf("mode %q is not known", o.mode)
}

// send is a SEND_MESSAGE_V2 or SEND_BATCH_MESSAGE whose born time and unique keys change from one to the next.
type send struct {
	frame   []byte
	bornAt  int
	keys    []int
	counter *uint64 // of the slot: a producer numbers its keys whatever queue they go to
	batch   int64
}

// uniqueKey is as the Java client makes it: ip, pid, class loader, then time and counter, of which 12 digits vary.
const uniqueKey = "7F00000100002A139C5500"

func newSend(o options, number, queue, opaque int) (*send, error) {
	now := strconv.FormatInt(time.Now().UnixMilli(), 10)
	counter := uint64(number) << 28
	s := &send{counter: &counter, batch: 1}
	body := bytes.Repeat([]byte("a"), o.size)
	properties := "UNIQ_KEY\x01" + uniqueKey[:20] + "000000000000" + "\x02WAIT\x01true\x02"
	code, flag := 310, "false"
	keyed := []byte(nil)
	if o.mode == "batch" {
		code, flag = 320, "true"
		s.batch = int64(o.batch)
		record := batchRecord(body, properties)
		keyed = bytes.Repeat(record, o.batch)
		body = keyed
		properties = "WAIT\x01true\x02"
	}
	fields := []field{
		{"a", o.group}, {"b", o.topic}, {"c", "TBW102"}, {"d", strconv.Itoa(o.queues)}, {"e", strconv.Itoa(queue)},
		{"f", "0"}, {"g", now}, {"h", "0"}, {"i", properties}, {"j", "0"}, {"k", "false"}, {"m", flag}, {"n", o.broker},
	}
	s.frame = frame(o.header, code, opaque, fields, body)
	s.bornAt = bytes.Index(s.frame, []byte(now))
	for at := 0; ; {
		found := bytes.Index(s.frame[at:], []byte(uniqueKey[:20]))
		if found < 0 {
			break
		}
		at += found + 20
		s.keys = append(s.keys, at)
	}
	if s.bornAt < 0 || len(s.keys) != int(s.batch) {
		return nil, fmt.Errorf("the frame was not built as expected")
	}
	return s, nil
}

// spread sends one request after the other, so that all slots together use every queue of the topic. With as many for one
// queue the load itself costs as much as with that number of queues.
type spread struct {
	sends []*send
	next  int
}

func (s *spread) append(out []byte) []byte {
	one := s.sends[s.next]
	s.next = (s.next + 1) % len(s.sends)
	return one.append(out)
}

func (s *spread) messages() int64 { return s.sends[0].messages() }

func (s *spread) answered(a answer) (int64, string) { return s.sends[0].answered(a) }

func (s *send) messages() int64 { return s.batch }

func (s *send) append(out []byte) []byte {
	strconv.AppendInt(s.frame[s.bornAt:s.bornAt], time.Now().UnixMilli(), 10)
	for _, at := range s.keys {
		*s.counter++
		hex12(s.frame[at:at+12], *s.counter)
	}
	return append(out, s.frame...)
}

func (s *send) answered(a answer) (int64, string) {
	if a.code != 0 {
		return 0, strconv.Itoa(a.code)
	}
	return s.batch, ""
}

func hex12(to []byte, value uint64) {
	const digits = "0123456789ABCDEF"
	for i := 11; i >= 0; i-- {
		to[i] = digits[value&15]
		value >>= 4
	}
}

// pull asks one queue from its beginning to its end, and again.
type pull struct {
	o      options
	queue  int
	opaque int
	offset int64
}

func (p *pull) messages() int64 { return int64(p.o.batch) }

func (p *pull) append(out []byte) []byte {
	fields := []field{
		{"commitOffset", "0"}, {"consumerGroup", p.o.group}, {"expressionType", "TAG"}, {"maxMsgBytes", "262144"},
		{"maxMsgNums", strconv.Itoa(p.o.batch)}, {"queueId", strconv.Itoa(p.queue)},
		{"queueOffset", strconv.FormatInt(p.offset, 10)}, {"subVersion", "0"}, {"subscription", "*"},
		{"suspendTimeoutMillis", "15000"}, {"sysFlag", "4"}, {"topic", p.o.topic},
	}
	return append(out, frame(p.o.header, 11, p.opaque, fields, nil)...)
}

func (p *pull) answered(a answer) (int64, string) {
	if a.code != 0 {
		atEnd := (a.code == 19 || a.code == 20 || a.code == 21) && p.offset > 0
		p.offset = 0
		if atEnd {
			return 0, ""
		}
		return 0, strconv.Itoa(a.code)
	}
	count := int64(0)
	for at := 0; at+4 <= len(a.body); count++ {
		size := int(binary.BigEndian.Uint32(a.body[at:]))
		if size <= 0 || at+size > len(a.body) {
			return 0, "broken body"
		}
		at += size
	}
	p.offset += count
	return count, ""
}

// batchRecord is one message of a batch body: size, magic, crc, flag, body, properties.
func batchRecord(body []byte, properties string) []byte {
	size := 4*5 + len(body) + 2 + len(properties)
	out := binary.BigEndian.AppendUint32(nil, uint32(size))
	out = append(out, make([]byte, 12)...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	out = append(out, body...)
	out = binary.BigEndian.AppendUint16(out, uint16(len(properties)))
	return append(out, properties...)
}

func frame(kind string, code, opaque int, fields []field, body []byte) []byte {
	serialization, header := uint32(0), []byte(nil)
	if kind == "binary" {
		serialization, header = 1, binaryHeader(code, opaque, fields)
	} else {
		header = jsonHeader(code, opaque, fields)
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 8+len(header)+len(body)), uint32(4+len(header)+len(body)))
	out = binary.BigEndian.AppendUint32(out, serialization<<24|uint32(len(header)))
	return append(append(out, header...), body...)
}

func jsonHeader(code, opaque int, fields []field) []byte {
	out := append([]byte(`{"code":`), strconv.Itoa(code)...)
	out = append(out, `,"extFields":{`...)
	for i, f := range fields {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), f.key...), `":"`...)
		for _, b := range []byte(f.value) {
			if b < ' ' {
				out = append(out, fmt.Sprintf(`\u%04x`, b)...)
			} else {
				out = append(out, b)
			}
		}
		out = append(out, '"')
	}
	out = append(out, `},"flag":0,"language":"JAVA","opaque":`...)
	out = append(out, strconv.Itoa(opaque)...)
	out = append(out, `,"serializeTypeCurrentRPC":"JSON","version":`...)
	return append(append(out, strconv.Itoa(version)...), '}')
}

func binaryHeader(code, opaque int, fields []field) []byte {
	ext := []byte(nil)
	for _, f := range fields {
		ext = binary.BigEndian.AppendUint16(ext, uint16(len(f.key)))
		ext = append(ext, f.key...)
		ext = binary.BigEndian.AppendUint32(ext, uint32(len(f.value)))
		ext = append(ext, f.value...)
	}
	out := binary.BigEndian.AppendUint16(nil, uint16(code))
	out = append(out, 0)
	out = binary.BigEndian.AppendUint16(out, version)
	out = binary.BigEndian.AppendUint32(out, uint32(opaque))
	out = binary.BigEndian.AppendUint32(out, 0)
	out = binary.BigEndian.AppendUint32(out, 0)
	out = binary.BigEndian.AppendUint32(out, uint32(len(ext)))
	return append(out, ext...)
}

type answer struct {
	code   int
	opaque int
	header []byte
	body   []byte
}

// remark gives the start of a failed answer's header, for the report.
func (a answer) remark() string {
	if len(a.header) > 300 {
		return string(a.header[:300])
	}
	return string(a.header)
}

// parse reads what follows the length word of an answer.
func parse(data []byte) (answer, error) {
	word := binary.BigEndian.Uint32(data)
	size := int(word & 0xFFFFFF)
	if 4+size > len(data) {
		return answer{}, fmt.Errorf("an answer whose header is longer than it")
	}
	a := answer{header: data[4 : 4+size], body: data[4+size:]}
	if word>>24 == 1 {
		if size < 21 {
			return a, fmt.Errorf("a binary header of %d bytes", size)
		}
		a.code = int(int16(binary.BigEndian.Uint16(a.header)))
		a.opaque = int(int32(binary.BigEndian.Uint32(a.header[5:])))
		return a, nil
	}
	var found bool
	if a.code, found = number(a.header, `"code":`); !found {
		return a, fmt.Errorf("an answer without code: %q", a.remark())
	}
	if a.opaque, found = number(a.header, `"opaque":`); !found {
		return a, fmt.Errorf("an answer without opaque: %q", a.remark())
	}
	return a, nil
}

func number(header []byte, key string) (int, bool) {
	at := bytes.Index(header, []byte(key))
	if at < 0 {
		return 0, false
	}
	value, sign, digits := 0, 1, 0
	for _, b := range header[at+len(key):] {
		if b == '-' && digits == 0 {
			sign = -1
			continue
		}
		if b < '0' || b > '9' {
			break
		}
		value = value*10 + int(b-'0')
		digits++
	}
	return sign * value, digits > 0
}
