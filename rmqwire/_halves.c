/* Half messages that are to be ended: their records become the messages that consumers get.
 *
 * `HalfMessage` and `TransactionHandlers` are the reference; they serve whatever is not plainly usual, and write the
 * answers to what is wrong.
 */

#include "_records.h"
#include "_requests.h"

enum { BORN_HOST_V6 = 0x10, STORE_HOST_V6 = 0x20 };

/* What is looked for, and where. */
typedef struct {
    const unsigned char *data;
    Py_ssize_t size;
    long long begin; /* the place of the data in the log */
    PyObject *born_host, *topic, *half_field;
} Span;

/* The put that ends a transaction; NULL without an error when it is not usual. */
static PyObject *
end_of(const Span *span, PyObject *end)
{
    PyObject *group = PyTuple_GET_ITEM(end, E_GROUP);
    const long long half_offset = PyLong_AsLongLong(PyTuple_GET_ITEM(end, E_HALF_OFFSET));
    const long long half_at = PyLong_AsLongLong(PyTuple_GET_ITEM(end, E_HALF_AT));
    const long kind = PyLong_AsLong(PyTuple_GET_ITEM(end, E_KIND));
    if (PyErr_Occurred() || half_at < span->begin || half_at - span->begin > span->size - AT_BORN_HOST)
        return NULL;
    const unsigned char *record = span->data + (half_at - span->begin);
    const long long size = (int32_t)get32(record + AT_SIZE);
    const uint32_t sys_flag = get32(record + AT_SYS_FLAG);
    const Py_ssize_t born_size = sys_flag & BORN_HOST_V6 ? 20 : 8, store_size = sys_flag & STORE_HOST_V6 ? 20 : 8;
    /* Behind the born host: store time, store host, reconsumed times, offset of the half message, length of the body. */
    const Py_ssize_t fixed = AT_BORN_HOST + born_size + 8 + store_size + 4 + 8 + 4;
    const Py_ssize_t half_size = PyBytes_GET_SIZE(span->half_field);
    if (size < fixed + half_size + 2 || size > span->size - (half_at - span->begin) ||
        get32(record + AT_MAGIC) != MAGIC_V1 || get32(record + AT_QUEUE_ID) != 0 ||
        get64(record + AT_QUEUE_OFFSET) != (uint64_t)half_offset || get64(record + AT_POSITION) != (uint64_t)half_at ||
        sys_flag & SYS_FLAG_ROLLBACK)
        return NULL;
    if (PyBytes_GET_SIZE(span->born_host) != born_size ||
        memcmp(PyBytes_AS_STRING(span->born_host), record + AT_BORN_HOST, (size_t)born_size) != 0)
        return NULL;
    const unsigned char *behind = record + fixed;
    const long long body_size = (int32_t)get32(behind - 4);
    if (get64(behind - 12) != 0 || get32(behind - 16) != 0 || body_size < 0 || body_size > size - fixed - half_size - 2)
        return NULL;
    const unsigned char *body = behind, *properties = body + body_size + half_size + 2;
    const Py_ssize_t properties_size = (Py_ssize_t)(properties[-2] << 8 | properties[-1]);
    if (memcmp(body + body_size, PyBytes_AS_STRING(span->half_field), (size_t)half_size) != 0 ||
        properties + properties_size != record + size || properties_size < 1 || properties[properties_size - 1] != 2 ||
        (rmq_crc32(body, (size_t)body_size) & 0x7FFFFFFFu) != get32(record + AT_CRC))
        return NULL;

    Known known;
    if (!rmq_read_properties(properties, properties_size, 1, &known) || known.group.size != PyBytes_GET_SIZE(group) ||
        memcmp(known.group.at, PyBytes_AS_STRING(group), (size_t)known.group.size) != 0)
        return NULL;
    const long long queue_id = rmq_number(known.real_queue, 0x7FFFFFFF);
    if (queue_id < 0 || known.real_topic.size < 1 || !is_same_topic(span->topic, known.real_topic))
        return NULL;

    /* All but the real topic and queue, in their order. */
    const int topic_first = known.topic_at < known.queue_at;
    const unsigned char *gap_at = topic_first ? known.topic_at : known.queue_at;
    const unsigned char *gap_end = topic_first ? known.topic_end : known.queue_end;
    const unsigned char *last_at = topic_first ? known.queue_at : known.topic_at;
    const unsigned char *last_end = topic_first ? known.queue_end : known.topic_end;
    const Py_ssize_t kept = (gap_at - properties) + (last_at - gap_end) + (properties + properties_size - last_end);
    PyObject *text = PyBytes_FromStringAndSize(NULL, kept);
    if (text != NULL) {
        char *to = PyBytes_AS_STRING(text);
        memcpy(to, properties, (size_t)(gap_at - properties));
        to += gap_at - properties;
        memcpy(to, gap_end, (size_t)(last_at - gap_end));
        to += last_at - gap_end;
        memcpy(to, last_end, (size_t)(properties + properties_size - last_end));
    }
    const uint32_t kept_flags = sys_flag & ~(uint32_t)(SYS_FLAG_ROLLBACK | BORN_HOST_V6 | STORE_HOST_V6);
    PyObject *parts[S_COUNT] = {
        [S_OPAQUE] = PyLong_FromLong(0),
        [S_TOPIC] = topic_text(span->topic, known.real_topic),
        [S_QUEUE] = PyLong_FromLongLong(queue_id),
        [S_SYS_FLAG] = PyLong_FromLong((long)(kept_flags | SYS_FLAG_COMMIT)),
        [S_BORN] = PyLong_FromLongLong((long long)get64(record + AT_BORN)),
        [S_FLAG] = PyLong_FromLong((int32_t)get32(record + AT_FLAG)),
        [S_BODY] = PyBytes_FromStringAndSize((const char *)body, (Py_ssize_t)body_size),
        [S_PROPERTIES] = text,
        [S_TAGS_CODE] = PyLong_FromLong(rmq_tags_code(known.tags)),
        [S_KEYS] = rmq_keys_of(&known),
        [S_KIND] = PyLong_FromLong(kind),
        [S_HALF_AT] = Py_NewRef(PyTuple_GET_ITEM(end, E_HALF_AT)),
        [S_HALF_OFFSET] = Py_NewRef(PyTuple_GET_ITEM(end, E_HALF_OFFSET)),
    };
    return new_tuple(parts, S_COUNT);
}

const char rmq_read_halves_doc[] =
    "read_halves(requests: list, data: bytes, begin: int, born_host: bytes, half_field: bytes) -> int\n\n"
    "Replace the ends of transactions in what `read_sends` gave by what they put, from the part of the log that begins at\n"
    "`begin`. Gives how many requests from the first on are of one topic and usual: a half message of the group and place\n"
    "that the end names, sent from the same host, with no properties but those of sends and what brokers add.";

PyObject *
rmq_read_halves(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 5 || !PyList_CheckExact(args[0]) || !PyBytes_CheckExact(args[1]) || !PyBytes_CheckExact(args[3]) ||
        !PyBytes_CheckExact(args[4])) {
        PyErr_SetString(PyExc_TypeError, "read_halves takes requests, bytes, a number and twice bytes");
        return NULL;
    }
    Span span = {(const unsigned char *)PyBytes_AS_STRING(args[1]), PyBytes_GET_SIZE(args[1]), PyLong_AsLongLong(args[2]),
                 args[3], NULL, args[4]};
    if (PyErr_Occurred())
        return NULL;
    PyObject *requests = args[0];
    /* Sends are of one topic already; ends have to be of the same. */
    for (Py_ssize_t index = 0; span.topic == NULL && index < PyList_GET_SIZE(requests); index++) {
        PyObject *request = PyList_GET_ITEM(requests, index);
        if (PyTuple_CheckExact(request) && PyTuple_GET_SIZE(request) == S_COUNT)
            span.topic = PyTuple_GET_ITEM(request, S_TOPIC);
    }
    Py_ssize_t usual = 0;
    for (; usual < PyList_GET_SIZE(requests); usual++) {
        PyObject *request = PyList_GET_ITEM(requests, usual);
        if (!PyTuple_CheckExact(request)) {
            PyErr_SetString(PyExc_TypeError, "a request is what read_sends gives");
            return NULL;
        }
        if (PyTuple_GET_SIZE(request) != E_COUNT)
            continue;
        PyObject *put = end_of(&span, request);
        if (put == NULL)
            break;
        if (span.topic == NULL)
            span.topic = PyTuple_GET_ITEM(put, S_TOPIC); /* the list keeps it */
        PyList_SetItem(requests, usual, put);
    }
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(usual);
}
