package rmqdriver;

import java.util.Map;
import org.apache.rocketmq.client.consumer.MQPullConsumer;
import org.apache.rocketmq.client.consumer.MQPullConsumerScheduleService;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.PullTaskCallback;
import org.apache.rocketmq.client.consumer.PullTaskContext;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/** Command "schedule_pull": a MQPullConsumerScheduleService that pulls each of its queues and keeps the offsets. */
final class Schedules {
    private static final long EVERY_MS = 200;

    private Schedules() {
    }

    static void register() {
        Driver.command("schedule_pull", Schedules::schedulePull);
    }

    private static Map<String, Object> schedulePull(Args args) throws Exception {
        final String name = args.text("name");
        MQPullConsumerScheduleService service = new MQPullConsumerScheduleService(args.text("group"));
        service.getDefaultMQPullConsumer().setNamesrvAddr(args.text("namesrv"));
        service.getDefaultMQPullConsumer().setInstanceName(name);
        service.setMessageModel(MessageModel.CLUSTERING);
        service.registerPullTaskCallback(args.text("topic"), new PullTaskCallback() {
            @Override
            public void doPullTask(MessageQueue queue, PullTaskContext context) {
                MQPullConsumer consumer = context.getPullConsumer();
                try {
                    long offset = Math.max(0, consumer.fetchConsumeOffset(queue, false));
                    PullResult result = consumer.pull(queue, "*", offset, 32);
                    if (result.getPullStatus() == PullStatus.FOUND) {
                        Consumers.received(name, result.getMsgFoundList(), 0);
                    }
                    consumer.updateConsumeOffset(queue, result.getNextBeginOffset());
                    context.setPullNextDelayTimeMillis((int) EVERY_MS);
                } catch (Exception failure) {
                    Map<String, Object> line = Driver.failed(failure);
                    line.put("consumer", name);
                    Driver.print(line);
                }
            }
        });
        service.start();
        Driver.STARTED.put(name, service);
        return Driver.line("started", "name", name, "client_id", service.getDefaultMQPullConsumer().buildMQClientId());
    }
}
