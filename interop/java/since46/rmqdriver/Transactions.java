package rmqdriver;

import java.util.Map;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Commands "transaction_producer" and "send_in_transaction", with the listener of 4.3 and later. */
final class Transactions {
    private Transactions() {
    }

    static void register() {
        Driver.command("transaction_producer", Transactions::producer);
        Driver.command("send_in_transaction",
            args -> TransactionSends.send(args, (producer, message) -> producer.sendMessageInTransaction(message, null)));
    }

    private static Map<String, Object> producer(Args args) throws Exception {
        final String name = args.text("name");
        TransactionMQProducer producer = TransactionSends.make(args);
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                try {
                    return Plans.local(message);
                } catch (InterruptedException stopped) {
                    Thread.currentThread().interrupt();
                    return LocalTransactionState.UNKNOW;
                }
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return Plans.check(name, message);
            }
        });
        return TransactionSends.started(args, producer);
    }
}
