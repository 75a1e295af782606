package rmqdriver;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.MQAdmin;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Commands of the pull consumer and of the MQAdmin interface that every client has. */
final class Lookups {
    private Lookups() {
    }

    static void register() {
        Driver.command("pull_consumer", Lookups::pullConsumer);
        Driver.command("queues", Lookups::queues);
        Driver.command("pull", Lookups::pull);
        Driver.command("commit", Lookups::commit);
        Driver.command("committed", Lookups::committed);
        Driver.command("offsets", Lookups::offsets);
        Driver.command("view", Lookups::view);
        Driver.command("query", Lookups::query);
    }

    private static Map<String, Object> pullConsumer(Args args) throws Exception {
        String name = args.text("name");
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(args.text("group"));
        consumer.setNamesrvAddr(args.text("namesrv"));
        consumer.setInstanceName(name);
        Settings.apply(consumer, args);
        consumer.start();
        Driver.STARTED.put(name, consumer);
        return Driver.line("started", "name", name, "client_id", consumer.buildMQClientId());
    }

    private static Map<String, Object> queues(Args args) throws Exception {
        DefaultMQPullConsumer consumer = Driver.started(args, "consumer");
        List<Object> told = new ArrayList<Object>();
        for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(args.text("topic"))) {
            told.add(Messages.tell(queue));
        }
        return Driver.line("queues", "queues", told);
    }

    private static MessageQueue queue(Args args) {
        return new MessageQueue(args.text("topic"), args.text("broker"), args.integer("queue_id"));
    }

    private static Map<String, Object> pull(Args args) throws Exception {
        DefaultMQPullConsumer consumer = Driver.started(args, "consumer");
        String expression = args.text("expression", "*");
        PullResult result = args.flag("block")
            ? consumer.pullBlockIfNotFound(queue(args), expression, args.number("offset"), args.integer("max", 32))
            : consumer.pull(queue(args), expression, args.number("offset"), args.integer("max", 32));
        return Driver.line("pulled", "status", result.getPullStatus().name(), "next", result.getNextBeginOffset(),
            "min", result.getMinOffset(), "max", result.getMaxOffset(), "messages", Messages.tell(result.getMsgFoundList()));
    }

    private static Map<String, Object> commit(Args args) throws Exception {
        DefaultMQPullConsumer consumer = Driver.started(args, "consumer");
        consumer.updateConsumeOffset(queue(args), args.number("offset"));
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persist(queue(args));
        return Driver.line("committed");
    }

    private static Map<String, Object> committed(Args args) throws Exception {
        DefaultMQPullConsumer consumer = Driver.started(args, "consumer");
        return Driver.line("committed", "offset", consumer.fetchConsumeOffset(queue(args), true));
    }

    private static Map<String, Object> offsets(Args args) throws Exception {
        MQAdmin admin = Driver.started(args, "client");
        MessageQueue queue = queue(args);
        Map<String, Object> line = Driver.line("offsets", "min", admin.minOffset(queue), "max", admin.maxOffset(queue),
            "earliest_at_ms", admin.earliestMsgStoreTime(queue));
        if (args.has("at_ms")) {
            line.put("found", admin.searchOffset(queue, args.number("at_ms")));
        }
        return line;
    }

    /** viewMessage: with the topic where the client has that form (4.x and later), else by the offset id alone (3.2.6). */
    private static Map<String, Object> view(Args args) throws Exception {
        Object admin = Driver.started(args, "client");
        Object found;
        try {
            found = admin.getClass().getMethod("viewMessage", String.class, String.class)
                .invoke(admin, args.text("topic"), args.text("msg_id"));
        } catch (NoSuchMethodException old) {
            found = admin.getClass().getMethod("viewMessage", String.class).invoke(admin, args.text("msg_id"));
        }
        return Driver.line("viewed", "message", found == null ? null : Messages.tell((MessageExt) found));
    }

    private static Map<String, Object> query(Args args) throws Exception {
        MQAdmin admin = Driver.started(args, "client");
        return Driver.line("queried", "messages", Messages.tell(admin.queryMessage(args.text("topic"), args.text("key"),
            args.integer("max", 32), args.number("begin_ms", 0), args.number("end_ms", Long.MAX_VALUE)).getMessageList()));
    }
}
