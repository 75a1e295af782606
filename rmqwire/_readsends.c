/* Sends, half messages and the ends of transactions as the official producers ask for them, read from frames.
 *
 * The general path in Python (`SendHandlers`, `TransactionHandlers`) is the reference and serves everything that is not
 * plainly usual.
 */

#include "_requests.h"

enum { SEND_MESSAGE_V2 = 310, END_TRANSACTION = 37 };
enum { FLAG_ONEWAY = 2 };

enum { END_GROUP, END_HALF_OFFSET, END_HALF_AT, END_KIND, END_MESSAGE_ID, END_CHECKED, END_TRANSACTION_ID, END_TOPIC,
       END_BROKER, END_FIELDS };
static const char *const end_names[END_FIELDS] = {
    "producerGroup", "tranStateTableOffset", "commitLogOffset", "commitOrRollback", "msgId", "fromTransactionCheck",
    "transactionId", "topic", "bname",
};

typedef struct {
    Head head;
    Letters letters;
    Slice end_fields[END_FIELDS];
} Request;

static int
take_end_field(Request *request, Slice key, Slice value, int form)
{
    if (value.size == 0 || form == FORM_ESCAPED || (form == FORM_RAW && !rmq_is_plain(value)))
        return 0;
    for (int which = 0; which < END_FIELDS; which++) {
        if (!equals(key, end_names[which]))
            continue;
        if (request->end_fields[which].size >= 0)
            return 0;
        request->end_fields[which] = value;
        return 1;
    }
    return 0;
}

static int
take_field(void *into, long long code, Slice key, Slice value, int form)
{
    Request *request = into;
    if (code == SEND_MESSAGE_V2)
        return take_letter(&request->letters, key, value, form);
    return code == END_TRANSACTION && take_end_field(request, key, value, form);
}

/* The send or half message as a tuple. */
static PyObject *
one_send(const Request *request, const Frame *frame, PyObject **topic)
{
    const Slice *fields = request->letters.fields;
    const Slice given = fields[PROPERTIES];
    Usual usual;
    if (PyBytes_GET_SIZE(frame->body) == 0 || request->head.flag != 0 ||
        !rmq_usual_letters(&request->letters, *topic, 0, &usual) || given.size < 0 || given.size > PROPERTIES_MAX)
        return NULL;

    unsigned char stored[PROPERTIES_MAX + 1];
    Py_ssize_t stored_size = given.size;
    if (request->letters.properties_escaped)
        stored_size = rmq_unescape(given, stored);
    else
        memcpy(stored, given.at, (size_t)stored_size);
    Known known;
    if (stored_size <= 0 || !rmq_read_properties(stored, stored_size, 0, &known) ||
        known.is_half != !!(usual.sys_flag & SYS_FLAG_PREPARED))
        return NULL;
    if (stored[stored_size - 1] != 2)
        stored[stored_size++] = 2;

    PyObject *zero = PyLong_FromLong(0);
    PyObject *parts[S_COUNT] = {
        [S_OPAQUE] = PyLong_FromLongLong(request->head.opaque),
        [S_TOPIC] = topic_text(*topic, fields[TOPIC]),
        [S_QUEUE] = PyLong_FromLongLong(usual.queue_id),
        [S_SYS_FLAG] = PyLong_FromLongLong(usual.sys_flag & ~SYS_FLAG_PREPARED),
        [S_BORN] = PyLong_FromLongLong(usual.born),
        [S_FLAG] = PyLong_FromLongLong(usual.flag),
        [S_BODY] = Py_NewRef(frame->body),
        [S_PROPERTIES] = PyBytes_FromStringAndSize((const char *)stored, stored_size),
        [S_TAGS_CODE] = PyLong_FromLong(rmq_tags_code(known.tags)),
        [S_KEYS] = rmq_keys_of(&known),
        [S_KIND] = PyLong_FromLong(known.is_half ? KIND_HALF : KIND_SEND),
        [S_HALF_AT] = zero,
        [S_HALF_OFFSET] = Py_XNewRef(zero),
    };
    *topic = parts[S_TOPIC];
    return new_tuple(parts, S_COUNT);
}

/* The end of a transaction as a tuple. */
static PyObject *
one_end(const Request *request)
{
    const Slice *fields = request->end_fields;
    const Slice kind = fields[END_KIND], checked = fields[END_CHECKED];
    if (request->head.flag != FLAG_ONEWAY || fields[END_GROUP].size < 0 || fields[END_MESSAGE_ID].size < 0)
        return NULL;
    const long long half_offset = rmq_number(fields[END_HALF_OFFSET], LLONG_MAX);
    const long long half_at = rmq_number(fields[END_HALF_AT], LLONG_MAX);
    const int commits = equals(kind, "8");
    if (half_offset < 0 || half_at < 0 || (!commits && !equals(kind, "12")) ||
        (checked.size >= 0 && !equals(checked, "true") && !equals(checked, "false")))
        return NULL;
    return Py_BuildValue("y#LLi", (const char *)fields[END_GROUP].at, fields[END_GROUP].size, half_offset, half_at,
                         commits ? KIND_COMMIT : KIND_ROLLBACK);
}

static PyObject *
read_one(const Frame *frame, PyObject **topic)
{
    Request request;
    rmq_no_letters(&request.letters);
    for (int index = 0; index < END_FIELDS; index++)
        request.end_fields[index].size = -1;
    if (!rmq_read_head(frame->serialization, frame->header, &request.head, take_field, &request))
        return NULL;
    return request.head.code == SEND_MESSAGE_V2 ? one_send(&request, frame, topic) : one_end(&request);
}

const char rmq_read_sends_doc[] =
    "read_sends(frames: list, first: int) -> tuple[list[tuple], list[int]]\n\n"
    "Read the usual sends to one topic from frame `first` on, and the ends of transactions between them, up to the first\n"
    "frame that is something else. A send: `(opaque, topic, queue id, sys flag without the bit of half messages, born\n"
    "timestamp, flag, body, properties with their last end, tags code, (unique key, key, ...), kind, 0, 0)`. Usual:\n"
    "SEND_MESSAGE_V2, two-way, all its required fields in their plain form, no batch, not consumed before, no properties\n"
    "but UNIQ_KEY, KEYS, TAGS, WAIT=true, those of a half message and the application's own. An end: `(producer group,\n"
    "queue offset of the half message, its place in the log, kind)`, oneway; the second list has these places.";

PyObject *
rmq_read_sends(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    PyObject *requests = rmq_read_run(args, count, read_one);
    PyObject *halves = requests == NULL ? NULL : PyList_New(0);
    int failed = halves == NULL;
    for (Py_ssize_t index = 0; !failed && index < PyList_GET_SIZE(requests); index++) {
        PyObject *request = PyList_GET_ITEM(requests, index);
        if (PyTuple_GET_SIZE(request) == E_COUNT)
            failed = PyList_Append(halves, PyTuple_GET_ITEM(request, E_HALF_AT)) < 0;
    }
    if (failed) {
        Py_XDECREF(requests);
        Py_XDECREF(halves);
        return NULL;
    }
    return Py_BuildValue("NN", requests, halves);
}
