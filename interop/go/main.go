// Command driver is a verifiable client on the official Go client: JSON commands in, JSON lines out.
//
// It reads one command a line from standard input, answers each with its "id", prints a "received" line for every
// message that a consumer gets, and ends at the end of its input. The Java drivers speak the same lines.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// Args are the fields of one command.
type Args map[string]interface{}

// Line is one line of output.
type Line map[string]interface{}

var (
	printing sync.Mutex
	started  sync.Map
	commands = map[string]func(Args) (Line, error){
		"producer":      startProducer,
		"send":          send,
		"push_consumer": startPushConsumer,
		"lite_pull":     startPullConsumer,
		"stop":          stop,

		"transaction_producer": startTransactionProducer,
		"send_in_transaction":  sendInTransaction,
	}
)

func print(line Line) {
	text, err := json.Marshal(line)
	if err != nil {
		text = []byte(fmt.Sprintf(`{"event":"failed","error":"Marshal","message":%q}`, err.Error()))
	}
	printing.Lock()
	defer printing.Unlock()
	fmt.Fprintln(os.Stdout, string(text))
}

func (a Args) text(key, other string) string {
	if value, ok := a[key].(string); ok {
		return value
	}
	return other
}

func (a Args) number(key string, other int) int {
	if value, ok := a[key].(float64); ok {
		return int(value)
	}
	return other
}

func (a Args) flag(key string) bool {
	value, _ := a[key].(bool)
	return value
}

func answer(args Args) {
	op := args.text("op", "")
	command, ok := commands[op]
	var line Line
	var err error
	if !ok {
		err = fmt.Errorf("no command %q", op)
	} else {
		line, err = command(args)
	}
	if err != nil {
		line = Line{"event": "failed", "error": fmt.Sprintf("%T", err), "message": err.Error(), "code": nil}
	}
	line["id"] = args["id"]
	print(line)
}

type stopper interface{ Shutdown() error }

func stop(args Args) (Line, error) {
	name := args.text("name", "")
	value, ok := started.LoadAndDelete(name)
	if !ok {
		return nil, fmt.Errorf("nothing was started as %q", name)
	}
	return Line{"event": "stopped", "name": name}, value.(stopper).Shutdown()
}

func main() {
	rlog.SetOutputPath(os.DevNull)
	rlog.SetLogLevel("error")
	print(Line{"event": "ready", "pid": os.Getpid()})
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<16), 1<<24)
	for in.Scan() {
		var args Args
		if err := json.Unmarshal(in.Bytes(), &args); err != nil {
			print(Line{"event": "failed", "error": "Unmarshal", "message": err.Error()})
			continue
		}
		go answer(args)
	}
}
