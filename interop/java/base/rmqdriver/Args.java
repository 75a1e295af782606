package rmqdriver;

import java.util.List;
import java.util.Map;

/** The arguments of one command. A missing argument without a default is the harness's mistake and says so. */
final class Args {
    private final Map<String, Object> map;

    Args(Map<String, Object> map) {
        this.map = map;
    }

    boolean has(String key) {
        return map.get(key) != null;
    }

    private Object need(String key) {
        Object value = map.get(key);
        if (value == null) {
            throw new IllegalArgumentException("the command lacks \"" + key + "\": " + map);
        }
        return value;
    }

    String text(String key) {
        return need(key).toString();
    }

    String text(String key, String other) {
        return has(key) ? text(key) : other;
    }

    long number(String key) {
        return ((Number) need(key)).longValue();
    }

    long number(String key, long other) {
        return has(key) ? number(key) : other;
    }

    int integer(String key) {
        return (int) number(key);
    }

    int integer(String key, int other) {
        return (int) number(key, other);
    }

    boolean flag(String key) {
        return Boolean.TRUE.equals(map.get(key));
    }

    @SuppressWarnings("unchecked")
    List<Object> list(String key) {
        return (List<Object>) need(key);
    }

    @SuppressWarnings("unchecked")
    Map<String, Object> map(String key) {
        return (Map<String, Object>) need(key);
    }
}
