/* What producers ask for, read from frames: sends, half messages and the ends of transactions, each as a tuple.
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

/* -- fields ------------------------------------------------------------------------------------------------------- */

void
rmq_no_letters(Letters *letters)
{
    letters->properties_escaped = 0;
    for (int index = 0; index < LETTERS; index++)
        letters->fields[index].size = -1;
}

int
rmq_take_letter(Letters *letters, Slice key, Slice value, int form)
{
    if (key.size != 1 || key.at[0] < 'a' || key.at[0] >= 'a' + LETTERS || value.size == 0)
        return 0;
    const int which = key.at[0] - 'a';
    if (which == PROPERTIES)
        letters->properties_escaped = form == FORM_ESCAPED;
    else if (form == FORM_ESCAPED || (form == FORM_RAW && !rmq_is_plain(value)))
        return 0;
    if (letters->fields[which].size >= 0)
        return 0;
    letters->fields[which] = value;
    return 1;
}

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
        return rmq_take_letter(&request->letters, key, value, form);
    return code == END_TRANSACTION && take_end_field(request, key, value, form);
}

/* -- tuples ------------------------------------------------------------------------------------------------------- */

PyObject *
rmq_new_put(PyObject *parts[S_COUNT])
{
    PyObject *put = PyTuple_New(S_COUNT);
    int complete = put != NULL;
    for (int index = 0; index < S_COUNT; index++)
        complete &= parts[index] != NULL;
    for (int index = 0; index < S_COUNT; index++) {
        if (complete)
            PyTuple_SET_ITEM(put, index, parts[index]);
        else
            Py_XDECREF(parts[index]);
    }
    if (!complete)
        Py_CLEAR(put);
    return put;
}

int
rmq_is_put(PyObject *put)
{
    if (!PyTuple_CheckExact(put) || PyTuple_GET_SIZE(put) != S_COUNT)
        return 0;
    PyObject *topic = PyTuple_GET_ITEM(put, S_TOPIC), *keys = PyTuple_GET_ITEM(put, S_KEYS);
    if (!PyTuple_CheckExact(keys) || PyTuple_GET_SIZE(keys) < 1)
        return 0;
    PyObject *key = PyTuple_GET_ITEM(keys, 0);
    return PyBytes_CheckExact(PyTuple_GET_ITEM(put, S_BODY)) && PyBytes_CheckExact(PyTuple_GET_ITEM(put, S_PROPERTIES)) &&
           PyUnicode_Check(topic) && PyUnicode_IS_COMPACT_ASCII(topic) && PyUnicode_Check(key) &&
           PyUnicode_IS_COMPACT_ASCII(key);
}

int
rmq_is_batch(PyObject *batch)
{
    return PyTuple_CheckExact(batch) && PyTuple_GET_SIZE(batch) == B_COUNT &&
           PyBytes_CheckExact(PyTuple_GET_ITEM(batch, B_BODY));
}

Py_ssize_t
rmq_place(PyObject *number)
{
    const Py_ssize_t place = PyLong_AsSsize_t(number);
    if (place < 0 && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a negative place");
    return place < 0 ? -1 : place;
}

/* -- requests --------------------------------------------------------------------------------------------------- */

Py_ssize_t
rmq_unescape(Slice text, unsigned char *out)
{
    unsigned char *to = out;
    for (const unsigned char *at = text.at, *end = at + text.size; at < end;) {
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        if (end - at < 6 || memcmp(at, "\\u000", 5) != 0 || (at[5] != '1' && at[5] != '2'))
            return -1;
        *to++ = (unsigned char)(at[5] - '0');
        at += 6;
    }
    return to - out;
}

/* The send as a tuple; NULL without an error when it is not usual. */
static PyObject *
one_send(const Request *request, PyObject *body, PyObject *topic)
{
    if (PyBytes_GET_SIZE(body) == 0)
        return NULL;
    const Slice *fields = request->letters.fields;
    if (request->head.flag != 0 || fields[GROUP].size < 0 || fields[TOPIC].size < 0 || fields[DEFAULT_TOPIC].size < 0)
        return NULL;
    const long long queue_id = rmq_number(fields[QUEUE_ID], 0x7FFFFFFF), sys_flag = rmq_number(fields[SYS_FLAG], 0xFFFF);
    const long long born = rmq_number(fields[BORN], 0x7FFFFFFFFFFFFFFF), flag = rmq_number(fields[FLAG], 0x7FFFFFFF);
    if (queue_id < 0 || sys_flag < 0 || (sys_flag & ~(COMPRESSION_BITS | SYS_FLAG_PREPARED)) || born < 0 || flag < 0 ||
        rmq_number(fields[DEFAULT_QUEUES], 0x7FFFFFFF) < 0)
        return NULL;
    if ((fields[RECONSUMED].size >= 0 && !equals(fields[RECONSUMED], "0")) ||
        (fields[UNIT_MODE].size >= 0 && !equals(fields[UNIT_MODE], "false") && !equals(fields[UNIT_MODE], "true")) ||
        (fields[MAX_RECONSUMES].size >= 0 && rmq_number(fields[MAX_RECONSUMES], 0x7FFFFFFF) < 0) ||
        (fields[BATCH].size >= 0 && !equals(fields[BATCH], "false")))
        return NULL;
    if (fields[PROPERTIES].size < 0 || fields[PROPERTIES].size > PROPERTIES_MAX)
        return NULL;
    if (topic != NULL && (PyUnicode_GET_LENGTH(topic) != fields[TOPIC].size ||
                          memcmp(PyUnicode_1BYTE_DATA(topic), fields[TOPIC].at, (size_t)fields[TOPIC].size) != 0))
        return NULL;

    unsigned char stored[PROPERTIES_MAX + 1];
    Py_ssize_t stored_size = fields[PROPERTIES].size;
    if (request->letters.properties_escaped)
        stored_size = rmq_unescape(fields[PROPERTIES], stored);
    else
        memcpy(stored, fields[PROPERTIES].at, (size_t)stored_size);
    Known known;
    if (stored_size <= 0 || !rmq_read_properties(stored, stored_size, 0, &known) ||
        known.is_half != !!(sys_flag & SYS_FLAG_PREPARED))
        return NULL;
    if (stored[stored_size - 1] != 2)
        stored[stored_size++] = 2;

    PyObject *zero = PyLong_FromLong(0);
    PyObject *parts[S_COUNT] = {
        [S_OPAQUE] = PyLong_FromLongLong(request->head.opaque),
        [S_TOPIC] = topic != NULL ? Py_NewRef(topic)
                                  : PyUnicode_DecodeASCII((const char *)fields[TOPIC].at, fields[TOPIC].size, NULL),
        [S_QUEUE] = PyLong_FromLongLong(queue_id),
        [S_SYS_FLAG] = PyLong_FromLongLong(sys_flag & ~SYS_FLAG_PREPARED),
        [S_BORN] = PyLong_FromLongLong(born),
        [S_FLAG] = PyLong_FromLongLong(flag),
        [S_BODY] = Py_NewRef(body),
        [S_PROPERTIES] = PyBytes_FromStringAndSize((const char *)stored, stored_size),
        [S_TAGS_CODE] = PyLong_FromLong(rmq_tags_code(known.tags)),
        [S_KEYS] = rmq_keys_of(&known),
        [S_KIND] = PyLong_FromLong(known.is_half ? KIND_HALF : KIND_SEND),
        [S_HALF_AT] = zero,
        [S_HALF_OFFSET] = Py_XNewRef(zero),
    };
    return rmq_new_put(parts);
}

/* The end of a transaction as a tuple; NULL without an error when it is not usual. */
static PyObject *
one_end(const Request *request)
{
    const Slice *fields = request->end_fields;
    const Slice kind = fields[END_KIND], checked = fields[END_CHECKED];
    if (request->head.flag != FLAG_ONEWAY || fields[END_GROUP].size < 0 || fields[END_MESSAGE_ID].size < 0)
        return NULL;
    const long long half_offset = rmq_number(fields[END_HALF_OFFSET], 0x7FFFFFFFFFFFFFFF);
    const long long half_at = rmq_number(fields[END_HALF_AT], 0x7FFFFFFFFFFFFFFF);
    const int commits = equals(kind, "8");
    if (half_offset < 0 || half_at < 0 || (!commits && !equals(kind, "12")) ||
        (checked.size >= 0 && !equals(checked, "true") && !equals(checked, "false")))
        return NULL;
    return Py_BuildValue("y#LLi", (const char *)fields[END_GROUP].at, fields[END_GROUP].size, half_offset, half_at,
                         commits ? KIND_COMMIT : KIND_ROLLBACK);
}

static PyObject *
one_request(PyObject *frame, PyObject *topic)
{
    if (!PyTuple_CheckExact(frame) || PyTuple_GET_SIZE(frame) != 3)
        return NULL;
    PyObject *header = PyTuple_GET_ITEM(frame, 1), *body = PyTuple_GET_ITEM(frame, 2);
    if (!PyBytes_CheckExact(header) || !PyBytes_CheckExact(body))
        return NULL;
    const long serialization = PyLong_AsLong(PyTuple_GET_ITEM(frame, 0));
    Request request;
    rmq_no_letters(&request.letters);
    for (int index = 0; index < END_FIELDS; index++)
        request.end_fields[index].size = -1;
    if (!rmq_read_head(serialization, (const unsigned char *)PyBytes_AS_STRING(header), PyBytes_GET_SIZE(header),
                       &request.head, take_field, &request))
        return NULL;
    return request.head.code == SEND_MESSAGE_V2 ? one_send(&request, body, topic) : one_end(&request);
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
    if (count != 2 || !PyList_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "read_sends takes a list and a number");
        return NULL;
    }
    const Py_ssize_t first = rmq_place(args[1]);
    if (first < 0)
        return NULL;
    PyObject *requests = PyList_New(0), *halves = PyList_New(0), *topic = NULL;
    int failed = requests == NULL || halves == NULL;
    for (Py_ssize_t index = first; !failed && index < PyList_GET_SIZE(args[0]); index++) {
        PyObject *request = one_request(PyList_GET_ITEM(args[0], index), topic);
        if (request == NULL)
            break;
        failed = PyList_Append(requests, request) < 0;
        Py_DECREF(request); /* the list keeps it */
        if (failed)
            break;
        if (PyTuple_GET_SIZE(request) == E_COUNT)
            failed = PyList_Append(halves, PyTuple_GET_ITEM(request, E_HALF_AT)) < 0;
        else if (topic == NULL)
            topic = PyTuple_GET_ITEM(request, S_TOPIC);
    }
    if (failed || PyErr_Occurred()) {
        Py_XDECREF(requests);
        Py_XDECREF(halves);
        return NULL;
    }
    return Py_BuildValue("NN", requests, halves);
}
