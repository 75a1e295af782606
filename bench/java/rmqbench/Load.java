package rmqbench;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Loads by the official client, one command a line on standard input ({@code send topic=T threads=64 ...}), JSON lines
 * on standard output. One process serves all rows of a run, so that the client is as warm for one broker as for the
 * other. The header's serialization is the process's: {@code -Drocketmq.serialize.type}.
 */
public final class Load {
    private final Map<String, String> arguments = new HashMap<>();

    public static void main(String[] args) throws Exception {
        say("{\"event\":\"ready\"}");
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            try {
                new Load(line).run(line.split(" ")[0]);
            } catch (Throwable problem) {
                problem.printStackTrace();
                say("{\"event\":\"failed\",\"error\":\"" + problem.toString().replaceAll("[^ -~]|[\"\\\\]", " ") + "\"}");
            }
        }
        System.exit(0);
    }

    private Load(String line) {
        for (String word : line.split(" ")) {
            int at = word.indexOf('=');
            if (at > 0) {
                arguments.put(word.substring(0, at), word.substring(at + 1));
            }
        }
    }

    private void run(String command) throws Exception {
        switch (command) {
            case "send":
                send();
                break;
            case "transactions":
                transactions();
                break;
            case "backlog":
                backlog();
                break;
            case "latency":
                latency();
                break;
            default:
                throw new IllegalArgumentException("command " + command);
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private int number(String key) {
        return Integer.parseInt(arguments.get(key));
    }

    /** What one sending thread saw in the measured time. */
    private static final class Seen {
        int[] latencies = new int[1 << 16];
        int count;
        final Map<String, Integer> failed = new TreeMap<>();

        synchronized void add(long nanos) {
            if (count == latencies.length) {
                latencies = Arrays.copyOf(latencies, count * 2);
            }
            latencies[count++] = (int) Math.min(nanos / 1000, Integer.MAX_VALUE);
        }

        synchronized void fail(Object what) {
            failed.merge(what.toString(), 1, Integer::sum);
        }
    }

    private void begin(DefaultMQProducer producer) throws Exception {
        producer.setNamesrvAddr(arguments.get("namesrv"));
        producer.setInstanceName(Long.toString(System.nanoTime()));
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
    }

    private byte[] body() {
        byte[] body = new byte[number("size")];
        Arrays.fill(body, (byte) 'a');
        return body;
    }

    /** One thread's work, until the time is over. */
    private interface Work {
        void run(int thread, long from, long until, Seen seen);
    }

    private void measure(int threads, Work work) throws Exception {
        long from = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(number("warm_ms"));
        long until = from + TimeUnit.MILLISECONDS.toNanos(number("measured_ms"));
        Seen[] seen = new Seen[threads];
        Thread[] running = new Thread[threads];
        for (int i = 0; i < threads; i++) {
            int number = i;
            Seen mine = seen[i] = new Seen();
            running[i] = new Thread(() -> work.run(number, from, until, mine), "load-" + i);
            running[i].start();
        }
        TimeUnit.NANOSECONDS.sleep(from - System.nanoTime());
        say("{\"event\":\"measuring\"}");
        TimeUnit.NANOSECONDS.sleep(until - System.nanoTime());
        say("{\"event\":\"measured\"}");
        for (Thread thread : running) {
            thread.join(20_000);
        }
        report(seen, number("measured_ms") / 1000.0);
    }

    /** Threads that send, divided among producers with connections of their own. */
    private void send() throws Exception {
        int inflight = number("inflight");
        byte[] body = body();
        DefaultMQProducer[] producers = new DefaultMQProducer[number("producers")];
        try {
            for (int i = 0; i < producers.length; i++) {
                producers[i] = new DefaultMQProducer("bench_producer");
                begin(producers[i]);
            }
            measure(number("threads"), (thread, from, until, seen) ->
                sendUntil(producers[thread % producers.length], body, inflight, from, until, seen));
        } finally {
            for (DefaultMQProducer producer : producers) {
                if (producer != null) {
                    producer.shutdown();
                }
            }
        }
    }

    /** Threads that send transactions, each committed at once. */
    private void transactions() throws Exception {
        byte[] body = body();
        TransactionMQProducer producer = new TransactionMQProducer("bench_transactions");
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        ExecutorService checks = Executors.newSingleThreadExecutor();
        producer.setExecutorService(checks);
        begin(producer);
        try {
            String topic = arguments.get("topic");
            measure(number("threads"), (thread, from, until, seen) -> {
                while (System.nanoTime() < until) {
                    long began = System.nanoTime();
                    try {
                        note(producer.sendMessageInTransaction(new Message(topic, body), null), began, from, until, seen);
                    } catch (Exception problem) {
                        seen.fail(problem.getClass().getSimpleName());
                    }
                }
            });
        } finally {
            producer.shutdown();
            checks.shutdown();
        }
    }

    /** From the call of send to the listener of a push consumer, one message at a time with a pause before each. */
    private void latency() throws Exception {
        String topic = arguments.get("topic");
        byte[] body = body();
        DefaultMQProducer producer = new DefaultMQProducer("bench_producer");
        begin(producer);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(arguments.get("group"));
        Map<String, Semaphore> waiting = new java.util.concurrent.ConcurrentHashMap<>();
        Map<String, Long> heardAt = new java.util.concurrent.ConcurrentHashMap<>();
        try {
            producer.send(new Message(topic, body)); // makes the topic
            consumer.setNamesrvAddr(arguments.get("namesrv"));
            consumer.setInstanceName(Long.toString(System.nanoTime()));
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                long now = System.nanoTime();
                for (MessageExt message : messages) {
                    Semaphore one = message.getKeys() == null ? null : waiting.get(message.getKeys());
                    if (one != null) {
                        heardAt.put(message.getKeys(), now);
                        one.release();
                    }
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
            int pauseMs = number("pause_ms");
            measure(1, (thread, from, until, seen) -> {
                for (long i = 0; System.nanoTime() < until; i++) {
                    String key = "k" + i;
                    Semaphore one = new Semaphore(0);
                    waiting.put(key, one);
                    try {
                        TimeUnit.MILLISECONDS.sleep(pauseMs);
                        long began = System.nanoTime();
                        producer.send(new Message(topic, "", key, body));
                        if (!one.tryAcquire(30, TimeUnit.SECONDS)) {
                            seen.fail("not heard of");
                        } else if (began >= from && heardAt.get(key) <= until) {
                            seen.add(heardAt.get(key) - began);
                        }
                    } catch (Exception problem) {
                        seen.fail(problem.getClass().getSimpleName());
                    }
                    waiting.remove(key);
                    heardAt.remove(key);
                }
            });
        } finally {
            consumer.shutdown();
            producer.shutdown();
        }
    }

    private void sendUntil(DefaultMQProducer producer, byte[] body, int inflight, long from, long until, Seen seen) {
        String topic = arguments.get("topic");
        Semaphore free = new Semaphore(Math.max(inflight, 1));
        while (System.nanoTime() < until) {
            long began = System.nanoTime();
            try {
                Message message = new Message(topic, body);
                if (inflight > 0) {
                    free.acquire();
                    long sent = System.nanoTime();
                    producer.send(message, new SendCallback() {
                        @Override
                        public void onSuccess(SendResult result) {
                            free.release();
                            note(result, sent, from, until, seen);
                        }

                        @Override
                        public void onException(Throwable problem) {
                            free.release();
                            seen.fail(problem.getClass().getSimpleName());
                        }
                    });
                } else {
                    note(producer.send(message), began, from, until, seen);
                }
            } catch (Exception problem) {
                seen.fail(problem.getClass().getSimpleName());
            }
        }
        free.acquireUninterruptibly(Math.max(inflight, 1));
    }

    private static void note(SendResult result, long began, long from, long until, Seen seen) {
        long now = System.nanoTime();
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            seen.fail(result.getSendStatus());
        } else if (now >= from && now <= until) {
            seen.add(now - began);
        }
    }

    private static void report(Seen[] seen, double seconds) {
        Map<String, Integer> failed = new TreeMap<>();
        int total = 0;
        for (Seen one : seen) {
            total += one.count;
            one.failed.forEach((what, count) -> failed.merge(what, count, Integer::sum));
        }
        int[] all = new int[total];
        int at = 0;
        for (Seen one : seen) {
            System.arraycopy(one.latencies, 0, all, at, one.count);
            at += one.count;
        }
        Arrays.sort(all);
        StringBuilder problems = new StringBuilder();
        failed.forEach((what, count) -> problems.append(problems.length() > 0 ? "," : "").append('"').append(what).append("\":").append(count));
        say(String.format("{\"event\":\"result\",\"messages\":%d,\"messages_per_s\":%.1f,\"p50_us\":%d,\"p99_us\":%d,\"p999_us\":%d,\"failed\":{%s}}",
            total, total / seconds, percentile(all, 0.5), percentile(all, 0.99), percentile(all, 0.999), problems));
    }

    private static int percentile(int[] sorted, double share) {
        return sorted.length == 0 ? 0 : sorted[Math.min((int) (share * sorted.length), sorted.length - 1)];
    }

    /** Read a topic from its beginning by a push consumer; the first tenth is not measured. */
    private void backlog() throws Exception {
        long count = number("count");
        long skipped = count / 10;
        AtomicLong received = new AtomicLong();
        AtomicLong began = new AtomicLong();
        CountDownLatch done = new CountDownLatch(1);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(arguments.get("group"));
        consumer.setNamesrvAddr(arguments.get("namesrv"));
        consumer.setInstanceName(Long.toString(System.nanoTime()));
        consumer.setConsumeThreadMin(20);
        consumer.setConsumeThreadMax(20);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(arguments.get("topic"), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            long before = received.getAndAdd(messages.size());
            if (before <= skipped && before + messages.size() > skipped) {
                began.set(System.nanoTime());
                say("{\"event\":\"measuring\"}");
            }
            if (before < count && before + messages.size() >= count) {
                say("{\"event\":\"measured\"}");
                done.countDown();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        boolean all = done.await(number("timeout_ms"), TimeUnit.MILLISECONDS);
        double seconds = (System.nanoTime() - began.get()) / 1e9;
        long measured = Math.min(received.get(), count) - skipped;
        consumer.shutdown();
        say(String.format("{\"event\":\"result\",\"messages\":%d,\"messages_per_s\":%.1f,\"failed\":{%s}}",
            measured, measured / seconds, all ? "" : "\"missing\":" + (count - received.get())));
    }
}
