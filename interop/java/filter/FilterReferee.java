import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.broker.filter.MessageEvaluationContext;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.expression.MQFilterException;
import org.apache.rocketmq.filter.util.BloomFilter;

/**
 * Says what the official filter classes make of expressions, for comparison with ours.
 *
 * Input, one line each, every text as base64 of UTF-8: "P name value name value ..." adds a set of properties;
 * "E expression" asks for an expression over all sets so far; "B f n text" asks for bloom bit positions.
 * Output: for E "ok text results" or "error message", results one letter per set: T, F, N (null), X (thrown),
 * O (something else); for B "bits m positions".
 */
public final class FilterReferee {
    public static void main(String[] arguments) throws Exception {
        List<Map<String, String>> sets = new ArrayList<>();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream out = new PrintStream(System.out, false, "US-ASCII");
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ", -1);
            if (words[0].equals("P")) {
                Map<String, String> properties = new HashMap<>();
                for (int i = 1; i + 1 < words.length; i += 2) {
                    properties.put(decoded(words[i]), decoded(words[i + 1]));
                }
                sets.add(properties);
            } else if (words[0].equals("B")) {
                BloomFilter bloom = BloomFilter.createByFn(Integer.parseInt(words[1]), Integer.parseInt(words[2]));
                StringBuilder text = new StringBuilder("bits ").append(bloom.getM());
                for (int position : bloom.generate(decoded(words[3])).getBitPos()) {
                    text.append(' ').append(position);
                }
                out.println(text);
            } else {
                out.println(judged(decoded(words[1]), sets));
            }
        }
        out.flush();
    }

    private static String judged(String text, List<Map<String, String>> sets) {
        Expression expression;
        try {
            expression = FilterFactory.INSTANCE.get("SQL92").compile(text);
        } catch (MQFilterException refused) {
            return "error " + encoded(String.valueOf(refused.getMessage()));
        }
        StringBuilder results = new StringBuilder();
        for (Map<String, String> properties : sets) {
            results.append(letter(expression, properties));
        }
        return "ok " + encoded(expression.toString()) + " " + results;
    }

    private static char letter(Expression expression, Map<String, String> properties) {
        try {
            Object value = expression.evaluate(new MessageEvaluationContext(properties));
            return value == null ? 'N' : value == Boolean.TRUE ? 'T' : value == Boolean.FALSE ? 'F' : 'O';
        } catch (Throwable thrown) {
            return 'X';
        }
    }

    private static String decoded(String word) {
        return new String(Base64.getDecoder().decode(word), StandardCharsets.UTF_8);
    }

    private static String encoded(String text) {
        return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }
}
