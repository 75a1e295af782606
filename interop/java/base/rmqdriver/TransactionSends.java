package rmqdriver;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;

/** What the transaction producers of all client versions have in common. */
final class TransactionSends {
    /** How one client version sends in a transaction. */
    interface Send {
        TransactionSendResult send(TransactionMQProducer producer, Message message) throws Exception;
    }

    private TransactionSends() {
    }

    static TransactionMQProducer make(Args args) {
        TransactionMQProducer producer = new TransactionMQProducer(args.text("group"));
        producer.setNamesrvAddr(args.text("namesrv"));
        producer.setInstanceName(args.text("name"));
        producer.setSendMsgTimeout(args.integer("timeout_ms", 15000));
        // Brokers know producers by their heartbeats, and ask only whom they know.
        producer.setHeartbeatBrokerInterval(1000);
        return producer;
    }

    static Map<String, Object> started(Args args, TransactionMQProducer producer) throws Exception {
        producer.start();
        Driver.STARTED.put(args.text("name"), producer);
        return Driver.line("started", "name", args.text("name"), "client_id", producer.buildMQClientId());
    }

    static Map<String, Object> send(Args args, Send how) throws Exception {
        TransactionMQProducer producer = Driver.started(args, "producer");
        List<Object> results = new ArrayList<Object>();
        for (Object message : args.list("messages")) {
            @SuppressWarnings("unchecked")
            Map<String, Object> fields = (Map<String, Object>) message;
            TransactionSendResult result = how.send(producer, Messages.make(args.text("topic"), new Args(fields)));
            Map<String, Object> told = Producers.tell(result);
            told.put("state", String.valueOf(result.getLocalTransactionState()));
            told.put("transaction_id", Messages.get(result, "getTransactionId"));
            results.add(told);
        }
        return Driver.line("sent", "count", results.size(), "results", results);
    }
}
