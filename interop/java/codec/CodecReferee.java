import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.annotation.Annotation;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.remoting.CommandCustomHeader;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;

/**
 * Says how the official classes read and write headers and bodies, for comparison with ours.
 *
 * Input, one line each, bytes as base64: "F frame" asks for the fields of a frame; "H class frame" for a header class
 * read from it; "B class json" for a body read and written again, "unknown" when there is no such class; "C version bytes" for a compressed registration as
 * JSON; "X version json" for a registration as JSON compressed; "T" for the table of header classes, "J" for the fresh
 * bodies, "V" for the versions. Classes are named without their package.
 * Output, one line each: the answer's words, or "error" and the exception's class. T, J and V give many lines.
 */
public final class CodecReferee {
    private static final Map<String, Class<?>> CLASSES = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        for (String jar : System.getProperty("java.class.path").split(File.pathSeparator)) {
            if (jar.matches(".*rocketmq-(remoting|common|acl|namesrv|store|broker)-[0-9.]+jar")) {
                collect(jar);
            }
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String answer;
            try {
                answer = answered(line.split(" ", -1));
            } catch (Throwable error) {
                Throwable cause = error instanceof InvocationTargetException ? error.getCause() : error;
                answer = "error " + cause.getClass().getSimpleName();
            }
            out.println("> " + answer);
        }
        out.flush();
    }

    private static void collect(String jar) throws Exception {
        try (JarFile file = new JarFile(jar)) {
            for (JarEntry entry : Collections.list(file.entries())) {
                String name = entry.getName();
                if (!name.matches(".*/(protocol|rpc|admin|lite|subscription|entity)/.*\\.class"
                    + "|.*/(DataVersion|TopicConfig|MessageQueueForC|MessageQueueAssignment|PlainAccessConfig)\\.class"
                    + "|.*/store/pop/.*\\.class|.*OrderInfo\\.class"
                    + "|.*(SerializeWrapper|TimerMetrics.Metric|RequestHeader)\\.class")) {
                    continue;
                }
                try {
                    Class<?> found = Class.forName(name.substring(0, name.length() - 6).replace('/', '.'));
                    if (!found.getSimpleName().isEmpty()) {
                        CLASSES.put(found.getSimpleName(), found);
                    }
                } catch (Throwable unloadable) {
                    continue;  // wants a library that the codec does not
                }
            }
        }
    }

    private static String answered(String[] words) throws Exception {
        switch (words[0]) {
            case "F":
                return fields(command(words[1]));
            case "H":
                return header(words[1], command(words[2]));
            case "B":
                if (!CLASSES.containsKey(words[1])) {
                    return "unknown";
                }
                Object body = RemotingSerializable.decode(decoded(words[2]), CLASSES.get(words[1]));
                return encoded(RemotingSerializable.encode(body));
            case "C":
                return encoded(RemotingSerializable.encode(inflated(words[1], decoded(words[2]))));
            case "X":
                Object whole = RemotingSerializable.decode(decoded(words[2]), registration());
                return encoded((byte[]) registration().getMethod("encode", boolean.class).invoke(whole, true));
            case "T":
                return headerTable();
            case "J":
                return freshBodies();
            case "V":
                return versions();
            default:
                return "error unknown";
        }
    }

    private static RemotingCommand command(String frame) throws Exception {
        ByteBuffer buffer = ByteBuffer.wrap(decoded(frame));
        buffer.position(4);
        return RemotingCommand.decode(buffer.slice());
    }

    private static String fields(RemotingCommand command) {
        StringBuilder text = new StringBuilder();
        text.append(command.getCode()).append(' ').append(command.getFlag()).append(' ').append(command.getOpaque());
        text.append(' ').append(command.getVersion()).append(' ').append(command.getLanguage());
        text.append(' ').append(encoded(command.getRemark()));
        Map<String, String> ext = command.getExtFields();
        for (Map.Entry<String, String> entry : new TreeMap<>(ext == null ? new HashMap<String, String>() : ext).entrySet()) {
            if (entry.getValue() != null) {
                text.append(' ').append(encoded(entry.getKey())).append('=').append(encoded(entry.getValue()));
            }
        }
        return text.toString();
    }

    private static String header(String name, RemotingCommand command) throws Exception {
        Class<? extends CommandCustomHeader> kind = CLASSES.get(name).asSubclass(CommandCustomHeader.class);
        CommandCustomHeader header = command.decodeCommandCustomHeader(kind);
        TreeMap<String, String> values = new TreeMap<>();
        for (Class<?> at = kind; at != Object.class; at = at.getSuperclass()) {
            for (Field field : at.getDeclaredFields()) {
                field.setAccessible(true);
                if (!Modifier.isStatic(field.getModifiers()) && field.get(header) != null) {
                    values.put(field.getName(), field.get(header).toString());
                }
            }
        }
        StringBuilder text = new StringBuilder();
        for (Map.Entry<String, String> entry : values.entrySet()) {
            text.append(entry.getKey()).append('=').append(encoded(entry.getValue())).append(' ');
        }
        ByteBuffer wire = RemotingCommand.createRequestCommand(command.getCode(), header).encode();
        byte[] bytes = new byte[wire.remaining()];
        wire.get(bytes);
        return text.append(encoded(bytes)).toString();
    }

    private static Class<?> registration() {
        return CLASSES.get("RegisterBrokerBody");
    }

    private static Object inflated(String ordinal, byte[] data) throws Exception {
        for (Method method : registration().getMethods()) {
            if (method.getName().equals("decode") && method.getReturnType() == registration()) {
                return method.getParameterCount() == 2 ? method.invoke(null, data, true)
                    : method.invoke(null, data, true, version(ordinal));
            }
        }
        throw new IllegalStateException();
    }

    private static MQVersion.Version version(String ordinal) {
        return MQVersion.Version.values()[Integer.parseInt(ordinal)];
    }

    private static String headerTable() {
        TreeSet<String> lines = new TreeSet<>();
        for (Class<?> found : CLASSES.values()) {
            if (!CommandCustomHeader.class.isAssignableFrom(found) || found.isInterface()) {
                continue;
            }
            boolean top = found.getSuperclass() == Object.class;
            lines.add(found.getSimpleName() + "\textends" + (top ? "" : "\t" + found.getSuperclass().getSimpleName()));
            for (Field field : found.getDeclaredFields()) {
                if (!Modifier.isStatic(field.getModifiers())) {
                    boolean required = false;
                    for (Annotation annotation : field.getAnnotations()) {
                        required |= annotation.annotationType().getSimpleName().equals("CFNotNull");
                    }
                    lines.add(found.getSimpleName() + "\t" + field.getType().getSimpleName() + "\t" + field.getName()
                        + (required ? "\trequired" : ""));
                }
            }
        }
        return encoded(String.join("\n", lines));
    }

    private static String freshBodies() {
        TreeSet<String> lines = new TreeSet<>();
        for (Map.Entry<String, Class<?>> entry : CLASSES.entrySet()) {
            Class<?> found = entry.getValue();
            boolean body = found.getName().matches(
                ".*\\.(body|heartbeat|route|subscription|topic|statictopic|admin)\\.[\\w$]+|.*\\.(DataVersion|TopicConfig)");
            boolean other = found.getSimpleName().endsWith("Manager") || CommandCustomHeader.class.isAssignableFrom(found);
            if (!body || other || found.isInterface() || found.isEnum()) {
                continue;
            }
            try {
                Object fresh = found.getDeclaredConstructor().newInstance();
                lines.add(entry.getKey() + "\t" + RemotingSerializable.toJson(fresh, false));
            } catch (Throwable unmakeable) {
                continue;  // no body: it has no constructor without arguments, or is no bean
            }
        }
        return encoded(String.join("\n", lines));
    }

    private static String versions() {
        List<String> lines = new ArrayList<>();
        for (MQVersion.Version version : MQVersion.Version.values()) {
            lines.add(version.name());
        }
        return encoded(String.join("\n", lines));
    }

    private static String encoded(String text) {
        return text == null ? "-" : encoded(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String encoded(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }

    private static byte[] decoded(String text) {
        return Base64.getDecoder().decode(text);
    }
}
