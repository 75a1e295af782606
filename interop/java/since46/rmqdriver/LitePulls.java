package rmqdriver;

import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;

/** Command "lite_pull": a DefaultLitePullConsumer (4.6 and later) polled by a thread of its own. */
final class LitePulls {
    private LitePulls() {
    }

    static void register() {
        Driver.command("lite_pull", LitePulls::litePull);
    }

    private static Map<String, Object> litePull(Args args) throws Exception {
        final String name = args.text("name");
        final DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(args.text("group"));
        consumer.setNamesrvAddr(args.text("namesrv"));
        consumer.setInstanceName(name);
        Settings.apply(consumer, args);
        if (args.text("from", "first").equals("first")) {
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        }
        if (args.has("sql")) {
            consumer.subscribe(args.text("topic"), MessageSelector.bySql(args.text("sql")));
        } else {
            consumer.subscribe(args.text("topic"), args.text("expression", "*"));
        }
        consumer.start();
        Driver.STARTED.put(name, consumer);
        Thread poller = new Thread(new Runnable() {
            @Override
            public void run() {
                while (Driver.STARTED.get(name) == consumer) {
                    Consumers.received(name, consumer.poll(500), 0);
                }
            }
        }, "poll-" + name);
        poller.setDaemon(true);
        poller.start();
        return Driver.line("started", "name", name, "client_id", consumer.buildMQClientId());
    }
}
