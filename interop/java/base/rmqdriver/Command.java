package rmqdriver;

import java.util.Map;

/** One operation: takes arguments, returns the fields of the answering line (its "event" among them). */
interface Command {
    Map<String, Object> run(Args args) throws Exception;
}
