package rmqdriver;

import java.util.Map;
import org.apache.rocketmq.client.producer.LocalTransactionExecuter;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionCheckListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Commands "transaction_producer" and "send_in_transaction", with the two interfaces that clients had before 4.3. */
final class Transactions {
    private Transactions() {
    }

    static void register() {
        Driver.command("transaction_producer", Transactions::producer);
        Driver.command("send_in_transaction", args -> TransactionSends.send(args, Transactions::sendOne));
    }

    private static org.apache.rocketmq.client.producer.TransactionSendResult sendOne(
        TransactionMQProducer producer, Message message) throws Exception {
        return producer.sendMessageInTransaction(message, new LocalTransactionExecuter() {
            @Override
            public LocalTransactionState executeLocalTransactionBranch(Message sent, Object argument) {
                try {
                    return Plans.local(sent);
                } catch (InterruptedException stopped) {
                    Thread.currentThread().interrupt();
                    return LocalTransactionState.UNKNOW;
                }
            }
        }, null);
    }

    private static Map<String, Object> producer(Args args) throws Exception {
        final String name = args.text("name");
        TransactionMQProducer producer = TransactionSends.make(args);
        producer.setTransactionCheckListener(new TransactionCheckListener() {
            @Override
            public LocalTransactionState checkLocalTransactionState(MessageExt message) {
                return Plans.check(name, message);
            }
        });
        return TransactionSends.started(args, producer);
    }
}
