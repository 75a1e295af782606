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
    Slice data;
    long long begin; /* the place of the data in the log */
    Slice born_host, topic_field;
    PyObject *topic; /* of the run */
} Span;

typedef struct {
    const unsigned char *record;
    uint32_t sys_flag;
    Slice body, properties;
} Half;

/* Find the half message at a place in the log. 0 when there is none with that queue offset, from that host, that is whole
 * and as the broker has written it. */
static int
find_half(const Span *span, long long at, long long queue_offset, Half *half)
{
    const long long in_data = at - span->begin;
    if (at < span->begin || in_data > span->data.size - AT_BORN_HOST)
        return 0;
    const unsigned char *record = half->record = span->data.at + in_data;
    const long long size = (int32_t)get32(record + AT_SIZE);
    const uint32_t sys_flag = half->sys_flag = get32(record + AT_SYS_FLAG);
    const Slice born_host = {record + AT_BORN_HOST, sys_flag & BORN_HOST_V6 ? 20 : 8};
    const Py_ssize_t store_host_size = sys_flag & STORE_HOST_V6 ? 20 : 8, topic_size = span->topic_field.size;
    /* Behind the born host: store time, store host, reconsumed times, offset of the half message, length of the body. */
    const Py_ssize_t fixed = AT_BORN_HOST + born_host.size + 8 + store_host_size + 4 + 8 + 4;
    if (size < fixed + topic_size + 2 || size > span->data.size - in_data || get32(record + AT_MAGIC) != MAGIC_V1 ||
        get32(record + AT_QUEUE_ID) != 0 || get64(record + AT_QUEUE_OFFSET) != (uint64_t)queue_offset ||
        get64(record + AT_POSITION) != (uint64_t)at || sys_flag & SYS_FLAG_ROLLBACK || !is_same(span->born_host, born_host))
        return 0;
    const unsigned char *behind = record + fixed;
    const long long body_size = (int32_t)get32(behind - 4);
    if (get64(behind - 12) != 0 || get32(behind - 16) != 0 || body_size < 0 || body_size > size - fixed - topic_size - 2)
        return 0;
    half->body = (Slice){behind, (Py_ssize_t)body_size};
    const Slice topic_field = {behind + body_size, topic_size};
    const unsigned char *properties = topic_field.at + topic_size + 2;
    half->properties = (Slice){properties, (Py_ssize_t)(properties[-2] << 8 | properties[-1])};
    return is_same(topic_field, span->topic_field) && properties + half->properties.size == record + size &&
           half->properties.size > 0 && record[size - 1] == 2 &&
           (rmq_crc32(half->body.at, (size_t)body_size) & 0x7FFFFFFFu) == get32(record + AT_CRC);
}

/* All properties but the real topic and queue, in their order. */
static PyObject *
without_real(Slice properties, const Known *known)
{
    const int topic_first = known->topic_at < known->queue_at;
    const unsigned char *gap_at = topic_first ? known->topic_at : known->queue_at;
    const unsigned char *gap_end = topic_first ? known->topic_end : known->queue_end;
    const unsigned char *last_at = topic_first ? known->queue_at : known->topic_at;
    const unsigned char *last_end = topic_first ? known->queue_end : known->topic_end;
    const size_t before = (size_t)(gap_at - properties.at), between = (size_t)(last_at - gap_end);
    const size_t behind = (size_t)(properties.at + properties.size - last_end);
    PyObject *text = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(before + between + behind));
    if (text != NULL) {
        char *to = PyBytes_AS_STRING(text);
        memcpy(to, properties.at, before);
        memcpy(to + before, gap_end, between);
        memcpy(to + before + between, last_end, behind);
    }
    return text;
}

/* The put that ends a transaction; NULL without an error when it is not usual. */
static PyObject *
end_of(const Span *span, PyObject *end)
{
    const Slice group = bytes_of(PyTuple_GET_ITEM(end, E_GROUP));
    const long long half_offset = number_at(end, E_HALF_OFFSET), half_at = number_at(end, E_HALF_AT);
    const long long kind = number_at(end, E_KIND);
    Half half;
    Known known;
    if (PyErr_Occurred() || !find_half(span, half_at, half_offset, &half) ||
        !rmq_read_properties(half.properties.at, half.properties.size, 1, &known) || !is_same(known.group, group))
        return NULL;
    const long long queue_id = rmq_number(known.real_queue, INT_MAX);
    if (queue_id < 0 || known.real_topic.size < 1 || !is_same_topic(span->topic, known.real_topic))
        return NULL;
    const uint32_t kept_flags = half.sys_flag & ~(uint32_t)(SYS_FLAG_ROLLBACK | BORN_HOST_V6 | STORE_HOST_V6);
    PyObject *parts[S_COUNT] = {
        [S_OPAQUE] = PyLong_FromLong(0),
        [S_TOPIC] = topic_text(span->topic, known.real_topic),
        [S_QUEUE] = PyLong_FromLongLong(queue_id),
        [S_SYS_FLAG] = PyLong_FromLong((long)(kept_flags | SYS_FLAG_COMMIT)),
        [S_BORN] = PyLong_FromLongLong((long long)get64(half.record + AT_BORN)),
        [S_FLAG] = PyLong_FromLong((int32_t)get32(half.record + AT_FLAG)),
        [S_BODY] = PyBytes_FromStringAndSize((const char *)half.body.at, half.body.size),
        [S_PROPERTIES] = without_real(half.properties, &known),
        [S_TAGS_CODE] = PyLong_FromLong(rmq_tags_code(known.tags)),
        [S_KEYS] = rmq_keys_of(&known),
        [S_KIND] = PyLong_FromLongLong(kind),
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
    Span span = {bytes_of(args[1]), PyLong_AsLongLong(args[2]), bytes_of(args[3]), bytes_of(args[4]), NULL};
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
