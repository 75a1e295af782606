/* Records of sends, half messages and the ends of transactions: those of a read in one call.
 *
 * `GroupWriter.stage` is the reference and serves everything that is not plainly usual: whatever this does not know it
 * leaves alone, and the tests hold both ways equal.
 */

#include "_records.h"
#include "_requests.h"

/* What a half message has behind the properties that were sent, and behind those that brokers add to all. */
static const char TAIL_ID[] = "__transactionId__\x01", TAIL_TOPIC[] = "\x02REAL_TOPIC\x01", TAIL_QUEUE[] = "\x02REAL_QID\x01";
enum { TAIL_FIXED = sizeof TAIL_ID + sizeof TAIL_TOPIC + sizeof TAIL_QUEUE - 3 + 1 };

static int
digits_of(long long number)
{
    int digits = 1;
    while (number >= 10) {
        number /= 10;
        digits++;
    }
    return digits;
}

static Py_ssize_t
tail_size(PyObject *put, long long queue_id)
{
    return TAIL_FIXED + PyUnicode_GET_LENGTH(PyTuple_GET_ITEM(PyTuple_GET_ITEM(put, S_KEYS), 0)) +
           PyUnicode_GET_LENGTH(PyTuple_GET_ITEM(put, S_TOPIC)) + digits_of(queue_id);
}

static unsigned char *
put_text(unsigned char *to, const void *text, Py_ssize_t size)
{
    memcpy(to, text, (size_t)size);
    return to + size;
}

static unsigned char *
put_slice(unsigned char *to, Slice text)
{
    return put_text(to, text.at, text.size);
}

static unsigned char *
put_tail(unsigned char *to, PyObject *put, long long queue_id)
{
    PyObject *key = PyTuple_GET_ITEM(PyTuple_GET_ITEM(put, S_KEYS), 0), *topic = PyTuple_GET_ITEM(put, S_TOPIC);
    to = put_text(to, TAIL_ID, sizeof TAIL_ID - 1);
    to = put_text(to, PyUnicode_1BYTE_DATA(key), PyUnicode_GET_LENGTH(key));
    to = put_text(to, TAIL_TOPIC, sizeof TAIL_TOPIC - 1);
    to = put_text(to, PyUnicode_1BYTE_DATA(topic), PyUnicode_GET_LENGTH(topic));
    to = put_text(to, TAIL_QUEUE, sizeof TAIL_QUEUE - 1);
    for (int digit = digits_of(queue_id); digit > 0; digit--) {
        to[digit - 1] = (unsigned char)('0' + queue_id % 10);
        queue_id /= 10;
    }
    to += digits_of(number_at(put, S_QUEUE));
    *to++ = 2;
    return to;
}

/* What is equal in a run, and its limits. */
typedef struct {
    PyObject *queues, *half_queue, *touched, *keyed, *timestamp;
    Slice template, topic_field, half_field, suffix;
    long long begin, body_max, record_max, properties_max, total_max;
} Run;

typedef struct {
    PyObject *queue;
    long long queue_id; /* as it is stored */
    Slice topic_field;
    Py_ssize_t body_size, properties_size, size;
} Shape;

/* Where a put goes and how large it is; 0 when it breaks a limit or has no queue. */
static int
shape_of(const Run *run, PyObject *put, long long kind, Shape *shape)
{
    const long long queue_id = number_at(put, S_QUEUE);
    if (queue_id < 0 || queue_id >= PyList_GET_SIZE(run->queues))
        return 0;
    const int is_half = kind == KIND_HALF;
    shape->queue = is_half ? run->half_queue : PyList_GET_ITEM(run->queues, queue_id);
    shape->queue_id = is_half ? 0 : queue_id;
    shape->topic_field = is_half ? run->half_field : run->topic_field;
    shape->body_size = PyBytes_GET_SIZE(PyTuple_GET_ITEM(put, S_BODY));
    shape->properties_size = PyBytes_GET_SIZE(PyTuple_GET_ITEM(put, S_PROPERTIES));
    if (kind != KIND_COMMIT) /* what was stored has them already */
        shape->properties_size += run->suffix.size;
    if (is_half)
        shape->properties_size += tail_size(put, queue_id);
    shape->size = run->template.size + shape->topic_field.size + 2 + shape->body_size + shape->properties_size;
    return shape->queue != Py_None && shape->body_size <= run->body_max &&
           shape->properties_size <= run->properties_max && shape->size <= run->record_max;
}

/* Write the record of a put and stage its unit and keys. Where the next record begins, or NULL with an error. */
static unsigned char *
put_record(const Run *run, PyObject *put, long long kind, const Shape *shape, long long position, unsigned char *record,
           long long *queue_offset)
{
    PyObject *body = PyTuple_GET_ITEM(put, S_BODY), *properties = PyTuple_GET_ITEM(put, S_PROPERTIES);
    const long long flags = number_at(put, S_SYS_FLAG), flag = number_at(put, S_FLAG), born = number_at(put, S_BORN);
    const long long half_at = number_at(put, S_HALF_AT), tags_code = number_at(put, S_TAGS_CODE);
    PyObject **hasher = PyErr_Occurred() ? NULL : rmq_slot_of(shape->queue, HASHER);
    unsigned char *unit = hasher == NULL ? NULL : rmq_stage_units(shape->queue, run->touched, 1, queue_offset);
    if (unit == NULL ||
        rmq_add_keyed(run->keyed, *hasher, position, run->timestamp, PyTuple_GET_ITEM(put, S_KEYS)) < 0)
        return NULL;
    put_unit(unit, position, shape->size, tags_code);
    begin_record(record, run->template, shape->size, bytes_of(body), *queue_offset, position);
    if (kind == KIND_HALF)
        put32(record + AT_MAGIC, MAGIC_V1);
    put32(record + AT_QUEUE_ID, (uint32_t)shape->queue_id);
    put32(record + AT_FLAG, (uint32_t)flag);
    put32(record + AT_SYS_FLAG, get32(record + AT_SYS_FLAG) | (uint32_t)flags);
    put64(record + AT_BORN, (uint64_t)born);
    if (kind == KIND_COMMIT)
        put64(record + run->template.size - 12, (uint64_t)half_at);
    record = put_text(record + run->template.size, PyBytes_AS_STRING(body), shape->body_size);
    record = put_slice(record, shape->topic_field);
    record[0] = (unsigned char)(shape->properties_size >> 8);
    record[1] = (unsigned char)shape->properties_size;
    record = put_slice(record + 2, bytes_of(properties));
    if (kind != KIND_COMMIT)
        record = put_slice(record, run->suffix);
    return kind == KIND_HALF ? put_tail(record, put, number_at(put, S_QUEUE)) : record;
}

const char rmq_pack_sends_doc[] =
    "pack_sends(puts: list, first: int, queues: list, half_queue: queue | None, touched: list, keyed: list,\n"
    "           template: bytes, topic_field: bytes, half_field: bytes, suffix: bytes, timestamp: int, position: int,\n"
    "           body_max: int, record_max: int, properties_max: int, total_max: int) -> tuple[bytes, bytes, int, int, int, int]\n\n"
    "Make the records of what `read_sends` and `read_halves` gave, from `first` on, and stage their units in `queues` (by\n"
    "queue id; None for one that is not open), those of half messages in `half_queue`. Stops before the first one that\n"
    "breaks a limit, has no queue there or no room; a rollback has no record. The template is a record up to its body\n"
    "length, with all that is equal in the run. Gives the records joined, of each send and half message the place\n"
    "(physical offset i64, queue offset i64), how many puts it has dealt with, how many of them are stored, the half\n"
    "messages among these and bytes of their records.";

PyObject *
rmq_pack_sends(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 16 || !PyList_CheckExact(args[0]) || !PyList_CheckExact(args[2]) || !PyList_CheckExact(args[4]) ||
        !PyList_CheckExact(args[5]) || !PyBytes_CheckExact(args[6]) || !PyBytes_CheckExact(args[7]) ||
        !PyBytes_CheckExact(args[8]) || !PyBytes_CheckExact(args[9])) {
        PyErr_SetString(PyExc_TypeError, "pack_sends takes puts, a number, queues, a queue, two lists, four bytes and six numbers");
        return NULL;
    }
    PyObject *puts = args[0];
    long long numbers[5];
    const Py_ssize_t first = rmq_place(args[1]);
    if (first < 0 || rmq_numbers(args + 11, 5, numbers) < 0)
        return NULL;
    const Run run = {
        .queues = args[2], .half_queue = args[3], .touched = args[4], .keyed = args[5], .timestamp = args[10],
        .template = bytes_of(args[6]), .topic_field = bytes_of(args[7]), .half_field = bytes_of(args[8]),
        .suffix = bytes_of(args[9]), .begin = numbers[0], .body_max = numbers[1], .record_max = numbers[2],
        .properties_max = numbers[3], .total_max = numbers[4],
    };
    if (run.template.size < TEMPLATE_MIN) {
        PyErr_SetString(PyExc_ValueError, "a template that is too short");
        return NULL;
    }

    long long total = 0, half_bytes = 0;
    Py_ssize_t stop = first, answered = 0, stored = 0, halves = 0;
    Shape shape;
    for (; stop < PyList_GET_SIZE(puts); stop++) {
        PyObject *put = PyList_GET_ITEM(puts, stop);
        if (!rmq_is_put(put)) {
            PyErr_SetString(PyExc_TypeError, "a put is what read_sends or read_halves gives");
            return NULL;
        }
        const long long kind = number_at(put, S_KIND);
        if (kind == KIND_ROLLBACK)
            continue;
        if (!shape_of(&run, put, kind, &shape) || total + shape.size > run.total_max)
            break;
        total += shape.size;
        stored++;
        answered += kind != KIND_COMMIT;
        if (kind == KIND_HALF) {
            halves++;
            half_bytes += shape.size;
        }
    }
    if (PyErr_Occurred())
        return NULL;
    PyObject *records = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
    PyObject *places = PyBytes_FromStringAndSize(NULL, answered * SEND_PLACE);
    if (records == NULL || places == NULL)
        goto failed;
    unsigned char *record = (unsigned char *)PyBytes_AS_STRING(records);
    unsigned char *place = (unsigned char *)PyBytes_AS_STRING(places);
    long long position = run.begin;
    for (Py_ssize_t index = first; index < stop; index++) {
        PyObject *put = PyList_GET_ITEM(puts, index);
        const long long kind = number_at(put, S_KIND);
        if (kind == KIND_ROLLBACK)
            continue;
        long long queue_offset;
        shape_of(&run, put, kind, &shape);
        record = put_record(&run, put, kind, &shape, position, record, &queue_offset);
        if (record == NULL)
            goto failed;
        if (kind != KIND_COMMIT) {
            put64(place, (uint64_t)position);
            put64(place + 8, (uint64_t)queue_offset);
            place += SEND_PLACE;
        }
        position += shape.size;
    }
    return Py_BuildValue("NNnnnL", records, places, stop - first, stored, halves, half_bytes);
failed:
    Py_XDECREF(records);
    Py_XDECREF(places);
    return NULL;
}
