package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const toldBodyBytes = 200

func startProducer(args Args) (Line, error) {
	name := args.text("name", "")
	p, err := rocketmq.NewProducer(
		producer.WithNameServer(strings.Split(args.text("namesrv", ""), ";")),
		producer.WithGroupName(args.text("group", "")),
		producer.WithInstanceName(name),
		producer.WithRetry(args.number("retries", 2)),
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

func tell(result *primitive.SendResult) Line {
	status := "SEND_OK"
	if result.Status != primitive.SendOK {
		status = fmt.Sprintf("status %d", result.Status)
	}
	return Line{
		"status": status, "msg_id": result.MsgID, "offset_msg_id": result.OffsetMsgID,
		"queue_id": result.MessageQueue.QueueId, "broker": result.MessageQueue.BrokerName, "queue_offset": result.QueueOffset,
	}
}

func makeMessages(args Args) []*primitive.Message {
	var messages []*primitive.Message
	list, _ := args["messages"].([]interface{})
	for _, item := range list {
		fields := Args(item.(map[string]interface{}))
		body := []byte(fields.text("body", ""))
		if size := fields.number("size", -1); size >= 0 {
			body = []byte(strings.Repeat("x", size))
		}
		message := primitive.NewMessage(args.text("topic", ""), body)
		if tag := fields.text("tag", ""); tag != "" {
			message.WithTag(tag)
		}
		if keys := fields.text("keys", ""); keys != "" {
			message.WithKeys(strings.Split(keys, " "))
		}
		if level := fields.number("delay_level", 0); level != 0 {
			message.WithDelayTimeLevel(level)
		}
		if properties, ok := fields["properties"].(map[string]interface{}); ok {
			for key, value := range properties {
				message.WithProperty(key, fmt.Sprint(value))
			}
		}
		messages = append(messages, message)
	}
	return messages
}

func send(args Args) (Line, error) {
	value, ok := started.Load(args.text("producer", ""))
	if !ok {
		return nil, fmt.Errorf("nothing was started as %q", args.text("producer", ""))
	}
	p := value.(rocketmq.Producer)
	messages := makeMessages(args)
	results := make([]Line, 0, len(messages))
	ctx := context.Background()
	switch args.text("mode", "sync") {
	case "batch":
		result, err := p.SendSync(ctx, messages...)
		if err != nil {
			return nil, err
		}
		results = append(results, tell(result))
	case "oneway":
		for _, message := range messages {
			if err := p.SendOneWay(ctx, message); err != nil {
				return nil, err
			}
		}
	case "async":
		var left sync.WaitGroup
		results = make([]Line, len(messages))
		for i, message := range messages {
			i := i
			left.Add(1)
			err := p.SendAsync(ctx, func(_ context.Context, result *primitive.SendResult, err error) {
				defer left.Done()
				if err != nil {
					results[i] = Line{"event": "failed", "error": "async", "message": err.Error()}
				} else {
					results[i] = tell(result)
				}
			}, message)
			if err != nil {
				return nil, err
			}
		}
		left.Wait()
	default:
		for _, message := range messages {
			result, err := p.SendSync(ctx, message)
			if err != nil {
				return nil, err
			}
			results = append(results, tell(result))
		}
	}
	return Line{"event": "sent", "count": len(messages), "results": results}, nil
}

func tellMessage(to string, message *primitive.MessageExt) Line {
	body := message.Body
	if len(body) > toldBodyBytes {
		body = body[:toldBodyBytes]
	}
	return Line{
		"event": "received", "consumer": to, "topic": message.Topic, "body": string(body), "size": len(message.Body),
		"crc": crc32.ChecksumIEEE(message.Body), "tag": message.GetTags(), "keys": message.GetKeys(), "flag": message.Flag,
		"properties": message.GetProperties(), "msg_id": message.MsgId, "offset_msg_id": message.OffsetMsgId,
		"queue_id": message.Queue.QueueId, "queue_offset": message.QueueOffset, "reconsume_times": message.ReconsumeTimes,
		"born_at_ms": message.BornTimestamp, "stored_at_ms": message.StoreTimestamp,
		"born_host": message.BornHost, "store_host": message.StoreHost,
	}
}

func startPushConsumer(args Args) (Line, error) {
	name := args.text("name", "")
	model := consumer.Clustering
	if args.flag("broadcasting") {
		model = consumer.BroadCasting
	}
	from := consumer.ConsumeFromFirstOffset
	if args.text("from", "first") == "last" {
		from = consumer.ConsumeFromLastOffset
	}
	fail := args.number("fail", 0)
	delayLevel := args.number("delay_level", 0)
	c, err := rocketmq.NewPushConsumer(
		consumer.WithNameServer(strings.Split(args.text("namesrv", ""), ";")),
		consumer.WithGroupName(args.text("group", "")),
		consumer.WithInstance(name),
		consumer.WithConsumerModel(model),
		consumer.WithConsumeFromWhere(from),
		consumer.WithConsumerOrder(args.flag("orderly")),
		consumer.WithMaxReconsumeTimes(int32(args.number("max_reconsume", -1))),
	)
	if err != nil {
		return nil, err
	}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: args.text("expression", "*")}
	if sql := args.text("sql", ""); sql != "" {
		selector = consumer.MessageSelector{Type: consumer.SQL92, Expression: sql}
	}
	err = c.Subscribe(args.text("topic", ""), selector, func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			print(tellMessage(name, message))
		}
		if int(messages[0].ReconsumeTimes) < fail {
			if concurrently, ok := primitive.GetConcurrentlyCtx(ctx); ok && delayLevel != 0 {
				concurrently.DelayLevelWhenNextConsume = delayLevel
			}
			if args.flag("orderly") {
				return consumer.SuspendCurrentQueueAMoment, nil
			}
			return consumer.ConsumeRetryLater, nil
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	started.Store(name, c)
	return Line{"event": "started", "name": name}, nil
}
