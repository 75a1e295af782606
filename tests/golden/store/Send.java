import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;

/** Sends the messages of the golden stores: singles with tags and keys, one batch, bodies large enough to roll files. */
public class Send {
    public static void main(String[] args) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("golden");
        producer.setNamesrvAddr(args[0]);
        producer.start();
        for (int i = 0; i < 120; i++) {
            Message message = new Message("Golden" + (i % 2), "Tag" + (i % 3), "key" + i + " other" + (i % 5),
                ("body " + i + " " + "x".repeat(i * 97 % 1500)).getBytes("UTF-8"));
            message.putUserProperty("number", Integer.toString(i));
            SendResult result = producer.send(message, 10000);
            System.out.println(i + "\t" + message.getTopic() + "\t" + result.getMessageQueue().getQueueId() + "\t"
                + result.getQueueOffset() + "\t" + result.getOffsetMsgId() + "\t" + result.getMsgId());
        }
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            batch.add(new Message("Golden0", "Batch", "batch" + i, ("batched " + i).getBytes("UTF-8")));
        }
        SendResult result = producer.send(batch);
        System.out.println("batch\tGolden0\t" + result.getMessageQueue().getQueueId() + "\t" + result.getQueueOffset()
            + "\t" + result.getOffsetMsgId() + "\t" + result.getMsgId());
        System.out.flush();
        System.exit(0); // the client of 5.5.0 does not always end by itself
    }
}
