/* Batches as the official producers send them, read from frames.
 *
 * The general path in Python (`SendHandlers`) is the reference and serves everything that is not plainly usual. The
 * body is not looked at: `_packbatches.c` does.
 */

#include "_requests.h"

enum { SEND_BATCH_MESSAGE = 320 };
enum { TOPIC_MAX = 127 };

typedef struct {
    Head head;
    Letters letters;
} Request;

static int
take_field(void *into, long long code, Slice key, Slice value, int form)
{
    return code == SEND_BATCH_MESSAGE && take_letter(&((Request *)into)->letters, key, value, form);
}

static int
has_usual_properties(const Letters *letters)
{
    const Slice given = letters->fields[PROPERTIES];
    unsigned char plain[PROPERTIES_MAX];
    if (given.size < 0)
        return 1;
    if (!letters->properties_escaped)
        return rmq_are_harmless(given.at, given.size);
    if (given.size > PROPERTIES_MAX)
        return 0;
    const Py_ssize_t size = rmq_unescape(given, plain);
    return size >= 0 && rmq_are_harmless(plain, size);
}

static PyObject *
read_one(const Frame *frame, PyObject **topic)
{
    Request request;
    Usual usual;
    rmq_no_letters(&request.letters);
    const Slice *fields = request.letters.fields;
    if (PyBytes_GET_SIZE(frame->body) == 0 || !rmq_read_head(frame->serialization, frame->header, &request.head, take_field, &request) ||
        request.head.code != SEND_BATCH_MESSAGE || request.head.flag != 0 ||
        !rmq_usual_letters(&request.letters, *topic, 1, &usual) || fields[TOPIC].size > TOPIC_MAX ||
        !has_usual_properties(&request.letters))
        return NULL;
    PyObject *parts[B_COUNT] = {
        [B_OPAQUE] = PyLong_FromLongLong(request.head.opaque),
        [B_TOPIC] = topic_text(*topic, fields[TOPIC]),
        [B_QUEUE] = PyLong_FromLongLong(usual.queue_id),
        [B_SYS_FLAG] = PyLong_FromLongLong(usual.sys_flag),
        [B_BORN] = PyLong_FromLongLong(usual.born),
        [B_BODY] = Py_NewRef(frame->body),
    };
    *topic = parts[B_TOPIC];
    return new_tuple(parts, B_COUNT);
}

const char rmq_read_batches_doc[] =
    "read_batches(frames: list, first: int) -> list[tuple]\n\n"
    "Read the usual batches to one topic from frame `first` on, up to the first frame that is something else: `(opaque,\n"
    "topic, queue id, sys flag, born timestamp, body)`. Usual: SEND_BATCH_MESSAGE, two-way, all its required fields in\n"
    "their plain form, not consumed before, no properties but UNIQ_KEY and WAIT=true. The body is not looked at.";

PyObject *
rmq_read_batches(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    return rmq_read_run(args, count, read_one);
}
