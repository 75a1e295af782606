package rmqdriver;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Map;

/** Clients with options that not every version has: "trace", "trace_topic", and "set", a map of setters and their values. */
final class Settings {
    private static final int INTERVAL_MS = 4000;
    private static final int ANSWER_MS = 20_000;

    private Settings() {
    }

    /** A client of a group, which is traced where the command says so. */
    static <T> T make(Class<T> type, Args args) throws Exception {
        String group = args.text("group");
        T client;
        if (args.flag("trace")) {
            client = type.getConstructor(String.class, boolean.class, String.class)
                .newInstance(group, true, args.has("trace_topic") ? args.text("trace_topic") : null);
        } else {
            client = type.getConstructor(String.class).newInstance(group);
        }
        beLively(client);
        return client;
    }

    /**
     * Routes and heartbeats go every 30 s by default, too long to wait in every case: a 5.5.0 consumer whose heartbeat
     * after a rebalance meets another of its own is refused (SUBSCRIPTION_NOT_LATEST) until the next. 3.2.6 has the
     * first setter's name misspelt.
     *
     * Answers may take longer than 3 s on a busy machine. A 5.x client then closes the connection, and the official
     * broker counts a heartbeat that it reads afterwards as one more member, whose queues nobody reads for 2 minutes.
     */
    private static void beLively(Object client) throws Exception {
        for (Method method : client.getClass().getMethods()) {
            if (method.getName().startsWith("setPollNameServerInte") || method.getName().equals("setHeartbeatBrokerInterval")) {
                method.invoke(client, INTERVAL_MS);
            } else if (method.getName().equals("setMqClientApiTimeout")) {
                method.invoke(client, ANSWER_MS);
            }
        }
    }

    static void apply(Object client, Args args) throws Exception {
        if (args.has("set")) {
            for (Map.Entry<String, Object> entry : args.map("set").entrySet()) {
                set(client, entry.getKey(), entry.getValue());
            }
        }
    }

    private static void set(Object client, String setter, Object value) throws Exception {
        for (Method method : client.getClass().getMethods()) {
            if (method.getName().equals(setter) && method.getParameterTypes().length == 1) {
                try {
                    method.invoke(client, as(method.getParameterTypes()[0], value));
                } catch (InvocationTargetException thrown) {
                    throw (Exception) thrown.getCause();
                }
                return;
            }
        }
        throw new IllegalArgumentException("this client version has no " + setter);
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private static Object as(Class<?> type, Object value) {
        if (type == int.class) {
            return ((Number) value).intValue();
        }
        if (type == long.class) {
            return ((Number) value).longValue();
        }
        if (type.isEnum()) {
            return Enum.valueOf((Class<Enum>) type, value.toString());
        }
        return value;
    }
}
