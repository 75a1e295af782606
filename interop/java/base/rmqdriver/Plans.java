package rmqdriver;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * What a transaction producer answers, by properties of the message itself, so that any producer of the group knows it:
 * "local" is the outcome of the local transaction (commit, rollback, unknown; "local_ms" its duration), "check" a
 * comma list of the answers to the first, second, ... check. The last of the list stands for all later checks.
 */
final class Plans {
    private static final Map<String, Integer> CHECKS = new ConcurrentHashMap<String, Integer>();

    private Plans() {
    }

    static LocalTransactionState local(Message message) throws InterruptedException {
        String pause = message.getProperty("local_ms");
        if (pause != null) {
            Thread.sleep(Long.parseLong(pause));
        }
        return state(message.getProperty("local"));
    }

    /** Prints a "received" line for the producer's name, and decides. */
    static LocalTransactionState check(String producer, MessageExt message) {
        Map<String, Object> line = Driver.line("received", "consumer", producer);
        line.putAll(Messages.tell(message));
        line.put("transaction_id", Messages.get(message, "getTransactionId"));
        line.put("commit_log_offset", message.getCommitLogOffset());
        line.put("sys_flag", message.getSysFlag());
        String key = producer + line.get("body");
        Integer before = CHECKS.get(key);
        int times = before == null ? 0 : before;
        CHECKS.put(key, times + 1);
        String plan = message.getProperty("check");
        String[] answers = (plan == null ? "unknown" : plan).split(",");
        String answer = answers[Math.min(times, answers.length - 1)];
        line.put("answer", answer);
        Driver.print(line);
        return state(answer);
    }

    private static LocalTransactionState state(String word) {
        if ("commit".equals(word)) {
            return LocalTransactionState.COMMIT_MESSAGE;
        }
        if ("rollback".equals(word)) {
            return LocalTransactionState.ROLLBACK_MESSAGE;
        }
        return LocalTransactionState.UNKNOW;
    }
}
