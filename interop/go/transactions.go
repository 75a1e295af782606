package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// plans answers by properties of the message itself, as Plans.java does.
type plans struct {
	name    string
	mutex   sync.Mutex
	checked map[string]int
}

func state(word string) primitive.LocalTransactionState {
	switch word {
	case "commit":
		return primitive.CommitMessageState
	case "rollback":
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func (p *plans) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	return state(message.GetProperty("local"))
}

func (p *plans) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	body := string(message.Body)
	p.mutex.Lock()
	times := p.checked[body]
	p.checked[body]++
	p.mutex.Unlock()
	answer := "unknown"
	if plan := message.GetProperty("check"); plan != "" {
		answers := strings.Split(plan, ",")
		answer = answers[min(times, len(answers)-1)]
	}
	line := tellMessage(p.name, message)
	line["answer"] = answer
	line["transaction_id"] = message.TransactionId
	line["commit_log_offset"] = message.CommitLogOffset
	line["sys_flag"] = message.SysFlag
	print(line)
	return state(answer)
}

func startTransactionProducer(args Args) (Line, error) {
	name := args.text("name", "")
	p, err := rocketmq.NewTransactionProducer(
		&plans{name: name, checked: map[string]int{}},
		producer.WithNameServer(strings.Split(args.text("namesrv", ""), ";")),
		producer.WithGroupName(args.text("group", "")),
		producer.WithInstanceName(name),
		producer.WithSendMsgTimeout(15*time.Second),
	)
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	started.Store(name, p)
	return Line{"event": "started", "name": name}, nil
}

func sendInTransaction(args Args) (Line, error) {
	value, ok := started.Load(args.text("producer", ""))
	if !ok {
		return nil, fmt.Errorf("nothing was started as %q", args.text("producer", ""))
	}
	var results []Line
	for _, message := range makeMessages(args) {
		result, err := value.(rocketmq.TransactionProducer).SendMessageInTransaction(context.Background(), message)
		if err != nil {
			return nil, err
		}
		line := tell(result.SendResult)
		line["transaction_id"] = result.TransactionID
		line["state"] = map[primitive.LocalTransactionState]string{
			primitive.CommitMessageState: "COMMIT_MESSAGE", primitive.RollbackMessageState: "ROLLBACK_MESSAGE",
		}[result.State]
		results = append(results, line)
	}
	return Line{"event": "sent", "count": len(results), "results": results}, nil
}
