package main

import (
	"context"
	"strings"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
)

const pollTimeout = 200 * time.Millisecond

// A polled is a pull consumer and the loop that polls it.
type polled struct {
	rocketmq.PullConsumer
	cancel context.CancelFunc
	ended  chan struct{}
}

// Shutdown ends the loop before the consumer, so that what was acknowledged is stored.
func (p *polled) Shutdown() error {
	p.cancel()
	<-p.ended
	return p.PullConsumer.Shutdown()
}

func startPullConsumer(args Args) (Line, error) {
	name := args.text("name", "")
	from := consumer.ConsumeFromFirstOffset
	if args.text("from", "first") == "last" {
		from = consumer.ConsumeFromLastOffset
	}
	c, err := rocketmq.NewPullConsumer(
		consumer.WithNameServer(strings.Split(args.text("namesrv", ""), ";")),
		consumer.WithGroupName(args.text("group", "")),
		consumer.WithInstance(name),
		consumer.WithConsumeFromWhere(from),
	)
	if err != nil {
		return nil, err
	}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: args.text("expression", "*")}
	if err := c.Subscribe(args.text("topic", ""), selector); err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &polled{PullConsumer: c, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		for ctx.Err() == nil {
			request, err := c.Poll(ctx, pollTimeout)
			if err != nil {
				continue // nothing came in this time
			}
			for _, message := range request.GetMsgList() {
				print(tellMessage(name, message))
			}
			c.ACK(context.Background(), request, consumer.ConsumeSuccess)
		}
	}()
	started.Store(name, p)
	return Line{"event": "started", "name": name}, nil
}
