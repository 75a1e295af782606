package rmqdriver;

import java.lang.reflect.Method;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.charset.Charset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Messages made from a command, and messages told in a line. */
final class Messages {
    static final Charset UTF_8 = Charset.forName("UTF-8");
    private static final int TOLD_BODY_BYTES = 200;

    private Messages() {
    }

    /** A message of a JSON object: topic of the command, then body or size, tag, keys, flag, delay_level, delay_s, delay_ms, deliver_ms, properties. */
    static Message make(String topic, Args args) {
        byte[] body;
        if (args.has("size")) {
            body = new byte[args.integer("size")];
            Arrays.fill(body, (byte) 'x');
        } else {
            body = args.text("body").getBytes(UTF_8);
        }
        Message message = new Message(topic, args.text("tag", ""), args.text("keys", ""), args.integer("flag", 0), body, true);
        if (args.has("delay_level")) {
            message.setDelayTimeLevel(args.integer("delay_level"));
        }
        timer(message, args, "delay_s", "setDelayTimeSec");
        timer(message, args, "delay_ms", "setDelayTimeMs");
        timer(message, args, "deliver_ms", "setDeliverTimeMs");
        if (args.has("properties")) {
            for (Map.Entry<String, Object> entry : args.map("properties").entrySet()) {
                message.putUserProperty(entry.getKey(), entry.getValue().toString());
            }
        }
        return message;
    }

    /** A setter of 5.x clients, if the command asks for it. */
    private static void timer(Message message, Args args, String name, String setter) {
        if (args.has(name)) {
            try {
                message.getClass().getMethod(setter, long.class).invoke(message, Long.parseLong(args.text(name)));
            } catch (ReflectiveOperationException missing) {
                throw new IllegalArgumentException("this client has no " + setter, missing);
            }
        }
    }

    static Map<String, Object> tell(MessageExt message) {
        Map<String, Object> told = new LinkedHashMap<String, Object>();
        byte[] body = message.getBody() == null ? new byte[0] : message.getBody();
        CRC32 crc = new CRC32();
        crc.update(body);
        told.put("topic", message.getTopic());
        told.put("body", new String(body, 0, Math.min(body.length, TOLD_BODY_BYTES), UTF_8));
        told.put("size", body.length);
        told.put("crc", crc.getValue());
        told.put("tag", message.getTags());
        told.put("keys", message.getKeys());
        told.put("flag", message.getFlag());
        told.put("sys_flag", message.getSysFlag());
        told.put("properties", message.getProperties());
        told.put("msg_id", message.getMsgId());
        told.put("offset_msg_id", get(message, "getOffsetMsgId"));
        told.put("queue_id", message.getQueueId());
        told.put("queue_offset", message.getQueueOffset());
        told.put("reconsume_times", message.getReconsumeTimes());
        told.put("born_at_ms", message.getBornTimestamp());
        told.put("stored_at_ms", message.getStoreTimestamp());
        told.put("born_host", host(message.getBornHost()));
        told.put("store_host", host(message.getStoreHost()));
        return told;
    }

    static List<Object> tell(List<MessageExt> messages) {
        List<Object> told = new ArrayList<Object>();
        if (messages != null) {
            for (MessageExt message : messages) {
                told.add(tell(message));
            }
        }
        return told;
    }

    static Map<String, Object> tell(MessageQueue queue) {
        Map<String, Object> told = new LinkedHashMap<String, Object>();
        told.put("topic", queue.getTopic());
        told.put("broker", queue.getBrokerName());
        told.put("queue_id", queue.getQueueId());
        return told;
    }

    /** A getter that not every client version has: null where it is missing. */
    static Object get(Object of, String getter) {
        try {
            Method method = of.getClass().getMethod(getter);
            method.setAccessible(true);
            return method.invoke(of);
        } catch (ReflectiveOperationException missing) {
            return null;
        }
    }

    private static String host(SocketAddress address) {
        if (!(address instanceof InetSocketAddress)) {
            return null;
        }
        InetSocketAddress inet = (InetSocketAddress) address;
        return inet.getAddress().getHostAddress() + ":" + inet.getPort();
    }
}
