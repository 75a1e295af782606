package rmqdriver;

import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.store.OffsetStore;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.consumer.store.RemoteBrokerOffsetStore;
import org.apache.rocketmq.client.impl.consumer.DefaultMQPushConsumerImpl;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/**
 * Command "push_consumer": prints one "received" line for each message before it acknowledges it.
 *
 * With "fail" it asks for each message again until that has come so many times before; "delay_level" is what it
 * then wishes (-1: the dead letters at once), "throws" lets the listener throw instead of answering.
 */
final class Consumers {
    private Consumers() {
    }

    static void register() {
        Driver.command("push_consumer", Consumers::pushConsumer);
        Driver.command("acknowledged", Consumers::acknowledged);
        Driver.command("in_hand", Consumers::inHand);
    }

    private static Map<String, Object> pushConsumer(Args args) throws Exception {
        final String name = args.text("name");
        DefaultMQPushConsumer consumer = Settings.make(DefaultMQPushConsumer.class, args);
        consumer.setNamesrvAddr(args.text("namesrv"));
        consumer.setInstanceName(name);
        consumer.setConsumeFromWhere(from(args.text("from", "first")));
        if (args.has("timestamp")) {
            consumer.setConsumeTimestamp(args.text("timestamp"));
        }
        consumer.setMessageModel(args.flag("broadcasting") ? MessageModel.BROADCASTING : MessageModel.CLUSTERING);
        consumer.setConsumeMessageBatchMaxSize(args.integer("batch", 1));
        if (args.has("max_reconsume")) {
            consumer.getClass().getMethod("setMaxReconsumeTimes", int.class).invoke(consumer, args.integer("max_reconsume"));
        }
        consumer.setUnitMode(args.flag("unit_mode"));
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        Settings.apply(consumer, args);
        subscribe(consumer, args);
        final long pauseMs = args.number("pause_ms", 0);
        final long fail = args.number("fail", 0);
        final int delayLevel = args.integer("delay_level", 0);
        final boolean throwing = args.flag("throws");
        final long suspendMs = args.number("suspend_ms", -1);
        if (args.flag("orderly")) {
            consumer.registerMessageListener(new MessageListenerOrderly() {
                @Override
                public ConsumeOrderlyStatus consumeMessage(List<MessageExt> messages, ConsumeOrderlyContext context) {
                    received(name, messages, pauseMs);
                    context.setSuspendCurrentQueueTimeMillis(suspendMs);
                    return again(messages, fail, throwing) ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
                }
            });
        } else {
            consumer.registerMessageListener(new MessageListenerConcurrently() {
                @Override
                public ConsumeConcurrentlyStatus consumeMessage(List<MessageExt> messages, ConsumeConcurrentlyContext context) {
                    received(name, messages, pauseMs);
                    context.setDelayLevelWhenNextConsume(delayLevel);
                    return again(messages, fail, throwing) ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
                }
            });
        }
        consumer.start();
        Driver.STARTED.put(name, consumer);
        return Driver.line("started", "name", name, "client_id", consumer.buildMQClientId());
    }

    private static boolean again(List<MessageExt> messages, long times, boolean throwing) {
        boolean again = messages.get(0).getReconsumeTimes() < times;
        if (again && throwing) {
            throw new IllegalStateException("the listener fails, as it was told to");
        }
        return again;
    }

    /** MessageSelector came after 3.2.6, whose driver is compiled of this source too. */
    private static void subscribe(DefaultMQPushConsumer consumer, Args args) throws Exception {
        if (!args.has("sql")) {
            consumer.subscribe(args.text("topic"), args.text("expression", "*"));
            return;
        }
        Class<?> selector = Class.forName("org.apache.rocketmq.client.consumer.MessageSelector");
        Object sql = selector.getMethod("bySql", String.class).invoke(null, args.text("sql"));
        consumer.getClass().getMethod("subscribe", String.class, selector).invoke(consumer, args.text("topic"), sql);
    }

    /** The sum of the offsets that the consumer has come to in the queues of a topic, by its own memory. */
    private static Map<String, Object> inHand(Args args) throws Exception {
        DefaultMQPushConsumer consumer = Driver.started(args, "consumer");
        long sum = 0;
        for (long offset : consumer.getDefaultMQPushConsumerImpl().getOffsetStore().cloneOffsetTable(args.text("topic")).values()) {
            sum += offset;
        }
        return Driver.line("in_hand", "sum", sum);
    }

    /**
     * The sum of the offsets that the consumer has come to in the queues of a topic and, in a clustering group, that
     * its brokers have, asked by a store of its own, as an answer replaces what a store has in hand. With "commit" it
     * commits them before.
     */
    private static Map<String, Object> acknowledged(Args args) throws Exception {
        DefaultMQPushConsumer consumer = Driver.started(args, "consumer");
        DefaultMQPushConsumerImpl inner = consumer.getDefaultMQPushConsumerImpl();
        OffsetStore brokers = new RemoteBrokerOffsetStore(inner.getmQClientFactory(), consumer.getConsumerGroup());
        if (args.flag("commit")) {
            inner.persistConsumerOffset();
        }
        long sum = 0;
        for (Map.Entry<MessageQueue, Long> inHand : inner.getOffsetStore().cloneOffsetTable(args.text("topic")).entrySet()) {
            boolean local = consumer.getMessageModel() == MessageModel.BROADCASTING;
            sum += local ? inHand.getValue() : Math.max(0, brokers.readOffset(inHand.getKey(), ReadOffsetType.READ_FROM_STORE));
        }
        return Driver.line("acknowledged", "sum", sum);
    }

    private static ConsumeFromWhere from(String word) {
        if (word.equals("first")) {
            return ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET;
        }
        if (word.equals("timestamp")) {
            return ConsumeFromWhere.CONSUME_FROM_TIMESTAMP;
        }
        return ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET;
    }

    /** pause_ms stands for the work of a slow listener: it keeps messages in flight while a case changes the group. */
    static void received(String consumer, List<MessageExt> messages, long pauseMs) {
        for (MessageExt message : messages) {
            Map<String, Object> line = Driver.line("received", "consumer", consumer);
            line.putAll(Messages.tell(message));
            Driver.print(line);
        }
        if (pauseMs > 0) {
            try {
                Thread.sleep(pauseMs);
            } catch (InterruptedException stopped) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
