package rmqdriver;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.common.message.MessageQueue;

/** Commands of a DefaultLitePullConsumer whose queues are assigned: "lite_assign", "lite_seek", "lite_commit", "lite_offsets". */
final class LiteAssigns {
    private LiteAssigns() {
    }

    static void register() {
        Driver.command("lite_assign", LiteAssigns::assign);
        Driver.command("lite_seek", LiteAssigns::seek);
        Driver.command("lite_commit", LiteAssigns::commit);
        Driver.command("lite_offsets", LiteAssigns::offsets);
    }

    /** Starts a consumer that does not commit by itself and prints what it polls. */
    private static Map<String, Object> assign(Args args) throws Exception {
        final String name = args.text("name");
        final DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(args.text("group"));
        consumer.setNamesrvAddr(args.text("namesrv"));
        consumer.setInstanceName(name);
        consumer.setAutoCommit(false);
        Settings.apply(consumer, args);
        consumer.start();
        List<MessageQueue> queues = new ArrayList<MessageQueue>();
        for (Object id : args.list("queue_ids")) {
            queues.add(queue(args, ((Number) id).intValue()));
        }
        consumer.assign(queues);
        Driver.STARTED.put(name, consumer);
        Thread poller = new Thread(new Runnable() {
            @Override
            public void run() {
                while (Driver.STARTED.get(name) == consumer) {
                    Consumers.received(name, consumer.poll(200), 0);
                }
            }
        }, "poll-" + name);
        poller.setDaemon(true);
        poller.start();
        return Driver.line("started", "name", name, "client_id", consumer.buildMQClientId());
    }

    private static MessageQueue queue(Args args, int id) {
        return new MessageQueue(args.text("topic"), args.text("broker"), id);
    }

    /** To an offset, or where "to" says: begin, end. */
    private static Map<String, Object> seek(Args args) throws Exception {
        DefaultLitePullConsumer consumer = Driver.started(args, "consumer");
        MessageQueue queue = queue(args, args.integer("queue_id"));
        if (args.has("offset")) {
            consumer.seek(queue, args.number("offset"));
        } else if (args.text("to").equals("begin")) {
            consumer.seekToBegin(queue);
        } else {
            consumer.seekToEnd(queue);
        }
        return Driver.line("sought");
    }

    private static Map<String, Object> commit(Args args) throws Exception {
        DefaultLitePullConsumer consumer = Driver.started(args, "consumer");
        consumer.commitSync();
        return Driver.line("committed");
    }

    private static Map<String, Object> offsets(Args args) throws Exception {
        DefaultLitePullConsumer consumer = Driver.started(args, "consumer");
        MessageQueue queue = queue(args, args.integer("queue_id"));
        return Driver.line("offsets", "committed", consumer.committed(queue),
            "at", args.has("at_ms") ? consumer.offsetForTimestamp(queue, args.number("at_ms")) : null);
    }
}
