package rmqdriver;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Commands "request" (of a "producer") and "responder": a consumer that answers each message "reply to BODY". */
final class Requests {
    private Requests() {
    }

    static void register() {
        Driver.command("request", Requests::request);
        Driver.command("responder", Requests::responder);
    }

    private static Map<String, Object> request(Args args) throws Exception {
        DefaultMQProducer producer = Driver.started(args, "producer");
        List<Object> replies = new ArrayList<Object>();
        for (Object message : args.list("messages")) {
            @SuppressWarnings("unchecked")
            Map<String, Object> fields = (Map<String, Object>) message;
            Message asked = Messages.make(args.text("topic"), new Args(fields));
            Message reply = producer.request(asked, args.number("wait_ms", 10000));
            Map<String, Object> told = reply instanceof MessageExt
                ? Messages.tell((MessageExt) reply)
                : Driver.line("reply", "body", new String(reply.getBody(), Messages.UTF_8), "properties", reply.getProperties());
            told.put("asked", asked.getProperties());
            replies.add(told);
        }
        return Driver.line("replied", "replies", replies);
    }

    private static Map<String, Object> responder(Args args) throws Exception {
        final String name = args.text("name");
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(args.text("group"));
        consumer.setNamesrvAddr(args.text("namesrv"));
        consumer.setInstanceName(name);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        final DefaultMQProducer producer = new DefaultMQProducer(args.text("group") + "-replies");
        producer.setNamesrvAddr(args.text("namesrv"));
        producer.setInstanceName(name + "-replies");
        producer.setRetryTimesWhenSendFailed(0);
        producer.start();
        consumer.subscribe(args.text("topic"), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                Map<String, Object> line = Driver.line("received", "consumer", name);
                line.putAll(Messages.tell(message));
                try {
                    byte[] body = ("reply to " + line.get("body")).getBytes(Messages.UTF_8);
                    SendResult sent = producer.send(MessageUtil.createReplyMessage(message, body), 12000);
                    line.put("sent", Producers.tell(sent));
                } catch (Exception failure) {
                    line.put("sent", Driver.failed(failure));
                }
                Driver.print(line);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Driver.STARTED.put(name, new Object() {
            @SuppressWarnings("unused")
            public void shutdown() {
                consumer.shutdown();
                producer.shutdown();
            }
        });
        return Driver.line("started", "name", name, "client_id", producer.buildMQClientId());
    }
}
