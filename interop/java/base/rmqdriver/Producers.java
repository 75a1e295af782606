package rmqdriver;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** Commands "producer" and "send". */
final class Producers {
    private static final int ASYNC_WAIT_SECONDS = 60;

    private Producers() {
    }

    static void register() {
        Driver.command("producer", Producers::producer);
        Driver.command("send", Producers::send);
        Driver.command("stop", Producers::stop);
        Driver.command("recall", Producers::recall);
    }

    private static Map<String, Object> producer(Args args) throws Exception {
        String name = args.text("name");
        DefaultMQProducer producer = Settings.make(DefaultMQProducer.class, args);
        producer.setNamesrvAddr(args.text("namesrv"));
        producer.setInstanceName(name);
        producer.setSendMsgTimeout(args.integer("timeout_ms", 15000));
        producer.setRetryTimesWhenSendFailed(args.integer("retries", 2));
        producer.setDefaultTopicQueueNums(args.integer("queues", 4));
        producer.setMaxMessageSize(args.integer("max_message_size", 4 << 20));
        producer.setCompressMsgBodyOverHowmuch(args.integer("compress_over", 4096));
        if (args.has("vip")) {
            producer.getClass().getMethod("setVipChannelEnabled", boolean.class).invoke(producer, args.flag("vip"));
        }
        Settings.apply(producer, args);
        producer.start();
        Driver.STARTED.put(name, producer);
        return Driver.line("started", "name", name, "client_id", producer.buildMQClientId(),
            "vip", Messages.get(producer, "isVipChannelEnabled"));
    }

    private static Map<String, Object> send(Args args) throws Exception {
        DefaultMQProducer producer = Driver.started(args, "producer");
        String topic = args.text("topic");
        String mode = args.text("mode", "sync");
        List<Message> messages = new ArrayList<Message>();
        for (Object message : args.list("messages")) {
            @SuppressWarnings("unchecked")
            Map<String, Object> fields = (Map<String, Object>) message;
            messages.add(Messages.make(topic, new Args(fields)));
        }
        MessageQueue queue = null;
        if (args.has("queue_id")) {
            for (MessageQueue candidate : producer.fetchPublishMessageQueues(topic)) {
                if (candidate.getQueueId() == args.integer("queue_id")
                    && candidate.getBrokerName().equals(args.text("broker", candidate.getBrokerName()))) {
                    queue = candidate;
                }
            }
            if (queue == null) {
                throw new IllegalArgumentException("the route has no queue " + args.integer("queue_id") + " of " + topic);
            }
        }
        List<Object> results = new ArrayList<Object>();
        if (mode.equals("batch")) {
            results.add(tell((SendResult) (queue == null
                ? producer.getClass().getMethod("send", Collection.class).invoke(producer, messages)
                : producer.getClass().getMethod("send", Collection.class, MessageQueue.class).invoke(producer, messages, queue))));
        } else if (mode.equals("async")) {
            async(producer, messages, queue, results);
        } else {
            for (Message message : messages) {
                if (mode.equals("oneway")) {
                    if (queue == null) {
                        producer.sendOneway(message);
                    } else {
                        producer.sendOneway(message, queue);
                    }
                } else {
                    results.add(tell(queue == null ? producer.send(message) : producer.send(message, queue)));
                }
            }
        }
        return Driver.line("sent", "count", messages.size(), "results", results);
    }

    private static void async(DefaultMQProducer producer, List<Message> messages, MessageQueue queue, List<Object> results)
        throws Exception {
        final Object[] slots = new Object[messages.size()];
        final CountDownLatch left = new CountDownLatch(slots.length);
        for (int i = 0; i < slots.length; i++) {
            final int slot = i;
            SendCallback callback = new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    slots[slot] = tell(result);
                    left.countDown();
                }

                @Override
                public void onException(Throwable failure) {
                    slots[slot] = Driver.failed(failure);
                    left.countDown();
                }
            };
            try {
                if (queue == null) {
                    producer.send(messages.get(i), callback);
                } else {
                    producer.send(messages.get(i), queue, callback);
                }
            } catch (Exception failure) {
                // As if it had come by the callback: the broker may die between two messages of a command.
                callback.onException(failure);
            }
        }
        if (!left.await(ASYNC_WAIT_SECONDS, TimeUnit.SECONDS)) {
            throw new IllegalStateException(left.getCount() + " callbacks did not come in " + ASYNC_WAIT_SECONDS + " s");
        }
        for (Object slot : slots) {
            results.add(slot);
        }
    }

    /** recallMessage, of 5.3 and later. */
    private static Map<String, Object> recall(Args args) throws Exception {
        DefaultMQProducer producer = Driver.started(args, "producer");
        Object id = producer.getClass().getMethod("recallMessage", String.class, String.class)
            .invoke(producer, args.text("topic"), args.text("handle"));
        return Driver.line("recalled", "msg_id", id);
    }

    private static Map<String, Object> stop(Args args) throws Exception {
        String name = args.text("name");
        Object found = Driver.started(args, "name");
        found.getClass().getMethod("shutdown").invoke(found);
        Driver.STARTED.remove(name);
        return Driver.line("stopped", "name", name);
    }

    static Map<String, Object> tell(SendResult result) {
        Map<String, Object> told = new LinkedHashMap<String, Object>();
        told.put("status", result.getSendStatus().name());
        told.put("msg_id", result.getMsgId());
        told.put("offset_msg_id", Messages.get(result, "getOffsetMsgId"));
        told.put("queue_id", result.getMessageQueue().getQueueId());
        told.put("broker", result.getMessageQueue().getBrokerName());
        told.put("queue_offset", result.getQueueOffset());
        told.put("recall_handle", Messages.get(result, "getRecallHandle"));
        return told;
    }
}
