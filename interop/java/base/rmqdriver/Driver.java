package rmqdriver;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.net.Socket;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * A verifiable client on the official API: reads one JSON command a line, prints JSON lines, and ends at the end
 * of its input. Every command has an "id", which its answer repeats; a consumer prints "received" lines without one.
 *
 * With "--connect HOST:PORT" it dials the harness instead of using standard input and output (in a container).
 */
public final class Driver {
    /** What a command started and "stop" ends, by the name that the harness gave it. */
    static final Map<String, Object> STARTED = new ConcurrentHashMap<String, Object>();
    private static final int CAUSES_TOLD = 4;
    private static final Map<String, Command> COMMANDS = new ConcurrentHashMap<String, Command>();
    private static PrintStream out;

    private Driver() {
    }

    static void command(String op, Command command) {
        COMMANDS.put(op, command);
    }

    static Map<String, Object> line(String event, Object... pairs) {
        Map<String, Object> line = new LinkedHashMap<String, Object>();
        line.put("event", event);
        for (int i = 0; i < pairs.length; i += 2) {
            line.put((String) pairs[i], pairs[i + 1]);
        }
        return line;
    }

    static void print(Map<String, Object> line) {
        synchronized (Driver.class) {
            out.println(Json.write(line));
            out.flush();
        }
    }

    @SuppressWarnings("unchecked")
    static <T> T started(Args args, String key) {
        Object found = STARTED.get(args.text(key));
        if (found == null) {
            throw new IllegalArgumentException("nothing was started as " + args.text(key));
        }
        return (T) found;
    }

    public static void main(String[] argv) throws Exception {
        BufferedReader in;
        if (argv.length == 2 && argv[0].equals("--connect")) {
            int colon = argv[1].lastIndexOf(':');
            Socket socket = new Socket(argv[1].substring(0, colon), Integer.parseInt(argv[1].substring(colon + 1)));
            in = new BufferedReader(new InputStreamReader(socket.getInputStream(), "UTF-8"));
            out = new PrintStream(socket.getOutputStream(), false, "UTF-8");
        } else {
            in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
            out = System.out;
            System.setOut(System.err);
        }
        for (String name : new String[] {"Producers", "Consumers", "Lookups", "Transactions", "Requests", "LitePulls", "LiteAssigns", "Schedules", "Tools", "Calls"}) {
            try {
                Class.forName("rmqdriver." + name).getDeclaredMethod("register").invoke(null);
            } catch (ClassNotFoundException absent) {
                // That API is not in this client version: its source was not compiled, its commands are unknown.
                continue;
            }
        }
        ExecutorService threads = Executors.newCachedThreadPool();
        print(line("ready", "pid", ProcessHandle.current().pid()));
        String text;
        while ((text = in.readLine()) != null) {
            final Map<String, Object> fields = Json.object(text);
            threads.execute(new Runnable() {
                @Override
                public void run() {
                    answer(fields);
                }
            });
        }
        // Not a graceful end: what still runs here is lost as it is when a process dies.
        Runtime.getRuntime().halt(0);
    }

    private static void answer(Map<String, Object> fields) {
        Map<String, Object> line;
        try {
            Command command = COMMANDS.get(String.valueOf(fields.get("op")));
            if (command == null) {
                throw new IllegalArgumentException("this client version has no command " + fields.get("op"));
            }
            line = command.run(new Args(fields));
        } catch (Throwable failure) {
            line = failed(failure);
        }
        line.put("id", fields.get("id"));
        print(line);
    }

    /** The failure as fields: class, message, the response code where the exception carries one, and what caused it. */
    static Map<String, Object> failed(Throwable failure) {
        Throwable cause = failure instanceof InvocationTargetException ? failure.getCause() : failure;
        Map<String, Object> line = line("failed", "error", cause.getClass().getSimpleName(),
            "message", String.valueOf(cause.getMessage()));
        try {
            line.put("code", cause.getClass().getMethod("getResponseCode").invoke(cause));
        } catch (ReflectiveOperationException none) {
            line.put("code", null);
        }
        List<Object> causes = new ArrayList<Object>();
        for (Throwable nested = cause.getCause(); nested != null && causes.size() < CAUSES_TOLD; nested = nested.getCause()) {
            causes.add(nested.getClass().getSimpleName() + ": " + nested.getMessage());
        }
        line.put("causes", causes);
        return line;
    }
}
