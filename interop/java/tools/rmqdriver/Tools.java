package rmqdriver;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.tools.command.MQAdminStartup;
import org.apache.rocketmq.tools.monitor.MonitorConfig;
import org.apache.rocketmq.tools.monitor.MonitorListener;
import org.apache.rocketmq.tools.monitor.MonitorService;

/**
 * Command "mqadmin": the official mqadmin's own entry point, in this JVM, with what it prints as the answer. Command
 * "monitor": one round of its monitor, which would print to a log file.
 */
final class Tools {
    private Tools() {
    }

    static void register() {
        Driver.command("mqadmin", Tools::mqadmin);
        Driver.command("monitor", Tools::monitor);
    }

    private static Map<String, Object> monitor(Args args) throws Exception {
        final List<Object> lines = new ArrayList<Object>();
        MonitorListener listener = (MonitorListener) Proxy.newProxyInstance(Tools.class.getClassLoader(),
            new Class<?>[] {MonitorListener.class}, (proxy, method, values) -> {
                if (values == null) {
                    lines.add(method.getName());
                } else if (!method.getName().equals("reportConsumerRunningInfo")) {
                    lines.add(method.getName() + ": " + values[0]);
                }
                return null;
            });
        MonitorConfig config = new MonitorConfig();
        config.setNamesrvAddr(args.text("namesrv"));
        MonitorService service = new MonitorService(config, listener, null);
        service.start();
        try {
            service.doMonitorWork();
        } finally {
            service.shutdown();
        }
        return Driver.line("printed", "lines", lines);
    }

    private static synchronized Map<String, Object> mqadmin(Args args) throws Exception {
        List<Object> words = args.list("args");
        String[] argv = new String[words.size()];
        for (int i = 0; i < argv.length; i++) {
            argv[i] = words.get(i).toString();
        }
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        ByteArrayOutputStream complained = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true, "UTF-8"));
        System.setErr(new PrintStream(complained, true, "UTF-8"));
        forgetCommands();
        Thread hurry = hurryAlong(Thread.currentThread(), args.number("limit_ms", 0));
        try {
            MQAdminStartup.main0(argv, null);
        } finally {
            hurry.interrupt();
            System.setOut(out);
            System.setErr(err);
        }
        return Driver.line("printed", "out", printed.toString("UTF-8"), "err", complained.toString("UTF-8"));
    }

    /**
     * Empty the list of subcommands, which main0 fills: some keep their client, and a second call would use one that
     * has been shut down.
     */
    private static void forgetCommands() throws IllegalAccessException {
        for (Field field : MQAdminStartup.class.getDeclaredFields()) {
            if (Modifier.isStatic(field.getModifiers()) && List.class.isAssignableFrom(field.getType())) {
                field.setAccessible(true);
                ((List<?>) field.get(null)).clear();
            }
        }
    }

    /**
     * Wake the thread that a client's shutdown waits for: it looks at its queue for three seconds before it sees that
     * it shall end, which every subcommand would take at its end. Also interrupt a subcommand that repeats itself for
     * ever, where a limit is given.
     */
    private static Thread hurryAlong(final Thread caller, final long limitMs) {
        final long begun = System.currentTimeMillis();
        Thread hurry = new Thread("hurry") {
            @Override
            public void run() {
                boolean interrupted = false;
                try {
                    while (true) {
                        Thread.sleep(10);
                        if (limitMs > 0 && !interrupted && System.currentTimeMillis() - begun > limitMs) {
                            interrupted = true;
                            caller.interrupt();
                        }
                        for (StackTraceElement frame : caller.getStackTrace()) {
                            if (frame.getClassName().endsWith("ServiceThread") && frame.getMethodName().equals("shutdown")) {
                                wake();
                                break;
                            }
                        }
                    }
                } catch (InterruptedException end) {
                    return;
                }
            }

            private void wake() {
                for (Thread thread : Thread.getAllStackTraces().keySet()) {
                    if (thread.getName().startsWith("NettyEventExecut")) {
                        thread.interrupt();
                    }
                }
            }
        };
        hurry.setDaemon(true);
        hurry.start();
        return hurry;
    }
}
