package rmqdriver;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Command "admin_call": a method of DefaultMQAdminExt by its name, with texts, numbers and booleans, as the dashboard calls it. */
final class Calls {
    private static DefaultMQAdminExt admin;
    private static String asked;

    private Calls() {
    }

    static void register() {
        Driver.command("admin_call", Calls::call);
    }

    private static synchronized Map<String, Object> call(Args args) throws Exception {
        connect(args.text("namesrv"));
        List<Object> words = args.list("args");
        String name = words.get(0).toString();
        String out;
        try {
            out = RemotingSerializable.toJson(run(name, words.subList(1, words.size())), false);
        } catch (InvocationTargetException thrown) {
            out = thrown.getCause().toString();
        }
        return Driver.line("printed", "out", out, "err", "");
    }

    private static void connect(String namesrv) throws Exception {
        if (namesrv.equals(asked)) {
            return;
        }
        if (admin != null) {
            admin.shutdown();
        }
        admin = new DefaultMQAdminExt(5000L);
        admin.setNamesrvAddr(namesrv);
        admin.setInstanceName("calls" + System.nanoTime());
        admin.setVipChannelEnabled(false);
        admin.start();
        asked = namesrv;
    }

    private static Object run(String name, List<Object> words) throws Exception {
        for (Method method : DefaultMQAdminExt.class.getMethods()) {
            if (method.getName().equals(name) && method.getParameterTypes().length == words.size()) {
                Object[] values = values(method.getParameterTypes(), words);
                if (values != null) {
                    return method.invoke(admin, values);
                }
            }
        }
        throw new NoSuchMethodException(name + " with " + words.size() + " simple arguments");
    }

    private static Object[] values(Class<?>[] kinds, List<Object> words) {
        Object[] values = new Object[kinds.length];
        for (int i = 0; i < kinds.length; i++) {
            String word = words.get(i).toString();
            if (kinds[i] == String.class) {
                values[i] = word;
            } else if (kinds[i] == long.class || kinds[i] == Long.class) {
                values[i] = Long.valueOf(word);
            } else if (kinds[i] == int.class) {
                values[i] = Integer.valueOf(word);
            } else if (kinds[i] == boolean.class) {
                values[i] = Boolean.valueOf(word);
            } else {
                return null;
            }
        }
        return values;
    }
}
