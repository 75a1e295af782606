/* Sends as the official producers write them: their records, their units and keys, a read in one call each.
 *
 * The general path in Python (`GroupWriter.stage`, `SendReplies`) is the reference and serves everything that is not
 * plainly usual: whatever these functions do not know they leave alone, and the tests hold both ways equal.
 */

#include "_records.h"
#include "_requests.h"
#include <structmember.h>

/* -- making their records ----------------------------------------------------------------------------------------- */

/* Queues are objects of one class with slots; where these lie in the object is asked of the class once. */
static const char *const slot_names[SLOT_COUNT] = {"hasher", "staged", "staged_next", "memory", "max_offset"};
static PyTypeObject *queue_type;
static Py_ssize_t slot_offsets[SLOT_COUNT];
static PyObject *name_topic;

int
rmq_sends_init(void)
{
    name_topic = PyUnicode_InternFromString("topic");
    return name_topic == NULL ? -1 : 0;
}

static int
learn_slots(PyTypeObject *type)
{
    Py_ssize_t offsets[SLOT_COUNT];
    for (int index = 0; index < SLOT_COUNT; index++) {
        PyObject *found = PyObject_GetAttrString((PyObject *)type, slot_names[index]);
        if (found == NULL)
            return -1;
        const PyMemberDef *member = Py_TYPE(found) == &PyMemberDescr_Type ? ((PyMemberDescrObject *)found)->d_member : NULL;
        const int fits = member != NULL && member->type == T_OBJECT_EX && ((PyMemberDescrObject *)found)->d_common.d_type == type;
        offsets[index] = fits ? member->offset : 0;
        Py_DECREF(found);
        if (!fits) {
            PyErr_Format(PyExc_TypeError, "a queue has a slot %s", slot_names[index]);
            return -1;
        }
    }
    memcpy(slot_offsets, offsets, sizeof slot_offsets);
    Py_INCREF(type);
    Py_XDECREF(queue_type);
    queue_type = type;
    return 0;
}

PyObject **
rmq_slot_of(PyObject *queue, int which)
{
    if (Py_TYPE(queue) != queue_type && learn_slots(Py_TYPE(queue)) < 0)
        return NULL;
    PyObject **slot = (PyObject **)((char *)queue + slot_offsets[which]);
    if (*slot == NULL) {
        PyErr_SetString(PyExc_AttributeError, slot_names[which]);
        return NULL;
    }
    return slot;
}

enum { SMALL_BUFFER = 128 };

unsigned char *
rmq_grow(PyObject *array, Py_ssize_t added)
{
    PyByteArrayObject *bytes = (PyByteArrayObject *)array;
    const Py_ssize_t before = PyByteArray_GET_SIZE(array), after = before + added;
    if (added == 0)
        return (unsigned char *)PyByteArray_AS_STRING(array) + before;
    if (bytes->ob_exports > 0 || after + (bytes->ob_start - bytes->ob_bytes) >= bytes->ob_alloc) {
        if (PyByteArray_Resize(array, after + (before < 1 << 16 ? before : 0)) < 0)
            return NULL;
    }
    Py_SET_SIZE(bytes, after);
    bytes->ob_start[after] = 0;
    return (unsigned char *)PyByteArray_AS_STRING(array) + before;
}

/* Make an array empty; a small one keeps its memory for what comes next. -1 with an error. */
static int
empty(PyObject *array)
{
    PyByteArrayObject *bytes = (PyByteArrayObject *)array;
    if (bytes->ob_exports > 0 || bytes->ob_alloc > SMALL_BUFFER || bytes->ob_start != bytes->ob_bytes)
        return PyByteArray_Resize(array, 0);
    if (bytes->ob_alloc > 0) {
        Py_SET_SIZE(bytes, 0);
        bytes->ob_start[0] = 0;
    }
    return 0;
}

/* Give the queue one more unit; its offset, or -1 with an error. */
static long long
add_unit(PyObject *queue, PyObject *touched, long long position, Py_ssize_t size, PyObject *tags)
{
    PyObject **staged = rmq_slot_of(queue, STAGED), **next = staged == NULL ? NULL : rmq_slot_of(queue, STAGED_NEXT);
    if (next == NULL)
        return -1;
    if (!PyByteArray_CheckExact(*staged)) {
        PyErr_SetString(PyExc_TypeError, "a queue has staged units in a bytearray");
        return -1;
    }
    const long long offset = PyLong_AsLongLong(*next), code = PyLong_AsLongLong(tags);
    PyObject *after = PyErr_Occurred() ? NULL : PyLong_FromLongLong(offset + 1);
    if (after == NULL)
        return -1;
    unsigned char *unit = NULL;
    if (PyByteArray_GET_SIZE(*staged) > 0 || PyList_Append(touched, queue) == 0)
        unit = rmq_grow(*staged, UNIT);
    if (unit != NULL) {
        put64(unit, (uint64_t)position);
        put32(unit + 8, (uint32_t)size);
        put64(unit + 12, (uint64_t)code);
        set_slot(next, after);
    }
    Py_DECREF(after);
    return unit == NULL ? -1 : offset;
}

static int
add_keyed(PyObject *keyed, PyObject *queue, long long position, PyObject *timestamp, PyObject *keys)
{
    PyObject **hasher = rmq_slot_of(queue, HASHER), *offset = PyLong_FromLongLong(position);
    PyObject *entry = hasher == NULL || offset == NULL ? NULL : PyTuple_Pack(4, *hasher, offset, timestamp, keys);
    const int failed = entry == NULL || PyList_Append(keyed, entry) < 0;
    Py_XDECREF(offset);
    Py_XDECREF(entry);
    return failed ? -1 : 0;
}

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
    PyObject *queues, *half_queue, *touched, *keyed, *template, *topic_field, *half_field, *suffix, *timestamp;
    long long begin, body_max, record_max, properties_max, total_max;
} Run;

typedef struct {
    PyObject *queue, *topic_field;
    long long queue_id; /* as it is stored */
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
        shape->properties_size += PyBytes_GET_SIZE(run->suffix);
    if (is_half)
        shape->properties_size += tail_size(put, queue_id);
    shape->size = PyBytes_GET_SIZE(run->template) + PyBytes_GET_SIZE(shape->topic_field) + 2 + shape->body_size +
                  shape->properties_size;
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
    const long long half_at = number_at(put, S_HALF_AT);
    const Py_ssize_t template_size = PyBytes_GET_SIZE(run->template);
    const unsigned char *sum = (const unsigned char *)PyBytes_AS_STRING(body);
    *queue_offset = add_unit(shape->queue, run->touched, position, shape->size, PyTuple_GET_ITEM(put, S_TAGS_CODE));
    if (*queue_offset < 0 || PyErr_Occurred() ||
        add_keyed(run->keyed, shape->queue, position, run->timestamp, PyTuple_GET_ITEM(put, S_KEYS)) < 0)
        return NULL;
    memcpy(record, PyBytes_AS_STRING(run->template), (size_t)template_size);
    put32(record + AT_SIZE, (uint32_t)shape->size);
    if (kind == KIND_HALF)
        put32(record + AT_MAGIC, MAGIC_V1);
    put32(record + AT_CRC, rmq_crc32(sum, (size_t)shape->body_size) & 0x7FFFFFFFu);
    put32(record + AT_QUEUE_ID, (uint32_t)shape->queue_id);
    put32(record + AT_FLAG, (uint32_t)flag);
    put64(record + AT_QUEUE_OFFSET, (uint64_t)*queue_offset);
    put64(record + AT_POSITION, (uint64_t)position);
    put32(record + AT_SYS_FLAG, get32(record + AT_SYS_FLAG) | (uint32_t)flags);
    put64(record + AT_BORN, (uint64_t)born);
    if (kind == KIND_COMMIT)
        put64(record + template_size - 12, (uint64_t)half_at);
    put32(record + template_size - 4, (uint32_t)shape->body_size);
    record = put_text(record + template_size, PyBytes_AS_STRING(body), shape->body_size);
    record = put_text(record, PyBytes_AS_STRING(shape->topic_field), PyBytes_GET_SIZE(shape->topic_field));
    record[0] = (unsigned char)(shape->properties_size >> 8);
    record[1] = (unsigned char)shape->properties_size;
    record = put_text(record + 2, PyBytes_AS_STRING(properties), PyBytes_GET_SIZE(properties));
    if (kind != KIND_COMMIT)
        record = put_text(record, PyBytes_AS_STRING(run->suffix), PyBytes_GET_SIZE(run->suffix));
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
    for (int index = 0; index < 5; index++) {
        numbers[index] = PyLong_AsLongLong(args[11 + index]);
        if (numbers[index] == -1 && PyErr_Occurred())
            return NULL;
    }
    const Run run = {args[2], args[3], args[4], args[5], args[6], args[7], args[8], args[9], args[10],
                     numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]};
    const Py_ssize_t first = rmq_place(args[1]);
    if (first < 0)
        return NULL;
    if (PyBytes_GET_SIZE(run.template) < TEMPLATE_MIN) {
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

/* -- making their units visible ----------------------------------------------------------------------------------- */

/* Whether a topic is a key of one of some mappings; -1 with an error. */
static int
is_awaited(PyObject *awaited, PyObject *queue)
{
    if (awaited == Py_None)
        return 1;
    PyObject *topic = NULL;
    int found = 0;
    for (Py_ssize_t index = 0; index < PyTuple_GET_SIZE(awaited) && found == 0; index++) {
        PyObject *topics = PyTuple_GET_ITEM(awaited, index);
        if (!PyDict_Check(topics)) {
            PyErr_SetString(PyExc_TypeError, "awaited topics are in dicts");
            found = -1;
        }
        else if (PyDict_Size(topics) > 0) {
            if (topic == NULL && (topic = PyObject_GetAttr(queue, name_topic)) == NULL)
                return -1;
            found = PyDict_Contains(topics, topic);
        }
    }
    Py_XDECREF(topic);
    return found;
}

/* Add what is staged in a queue to its tail. The length of the tail, or -1 with an error. */
static Py_ssize_t
append_staged(PyObject *queue, PyObject *dirty, PyObject *awaited, PyObject *arrived)
{
    PyObject **memory = rmq_slot_of(queue, MEMORY), **staged = memory == NULL ? NULL : rmq_slot_of(queue, STAGED);
    PyObject **next = staged == NULL ? NULL : rmq_slot_of(queue, STAGED_NEXT);
    PyObject **end = next == NULL ? NULL : rmq_slot_of(queue, MAX_OFFSET), *tail = NULL;
    if (end == NULL)
        return -1;
    if (PyTuple_CheckExact(*memory) && PyTuple_GET_SIZE(*memory) == 2)
        tail = PyTuple_GET_ITEM(*memory, 1);
    if (tail == NULL || !PyByteArray_CheckExact(tail) || !PyByteArray_CheckExact(*staged) || tail == *staged) {
        PyErr_SetString(PyExc_TypeError, "a queue has its units in two bytearrays");
        return -1;
    }
    const Py_ssize_t added = PyByteArray_GET_SIZE(*staged);
    unsigned char *to = rmq_grow(tail, added);
    if (to == NULL)
        return -1;
    memcpy(to, PyByteArray_AS_STRING(*staged), (size_t)added);
    const Py_ssize_t length = PyByteArray_GET_SIZE(tail);
    set_slot(end, *next);
    const int is_told = is_awaited(awaited, queue);
    if (is_told < 0)
        return -1;
    if (is_told) {
        PyObject *units = PyBytes_FromStringAndSize(PyByteArray_AS_STRING(*staged), added);
        PyObject *entry = units == NULL ? NULL : PyTuple_Pack(2, queue, units);
        const int failed = entry == NULL || PyList_Append(arrived, entry) < 0;
        Py_XDECREF(units);
        Py_XDECREF(entry);
        if (failed)
            return -1;
    }
    if (empty(*staged) < 0 || PyDict_SetDefault(dirty, queue, Py_None) == NULL)
        return -1;
    return length;
}

const char rmq_append_units_doc[] =
    "append_units(touched: list, dirty: dict, awaited: tuple[dict, ...] | None, long_bytes: int)\n"
    "    -> tuple[list[tuple[queue, bytes]], list[queue]]\n\n"
    "Make the units that are staged in queues visible. Gives the queues of awaited topics with what came, and the queues\n"
    "whose units in memory have `long_bytes` or more.";

PyObject *
rmq_append_units(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 4 || !PyList_CheckExact(args[0]) || !PyDict_CheckExact(args[1]) ||
        (args[2] != Py_None && !PyTuple_CheckExact(args[2]))) {
        PyErr_SetString(PyExc_TypeError, "append_units takes a list, a dict, a tuple of dicts or None, and a number");
        return NULL;
    }
    const Py_ssize_t long_bytes = PyLong_AsSsize_t(args[3]);
    if (long_bytes == -1 && PyErr_Occurred())
        return NULL;
    PyObject *arrived = PyList_New(0), *large = PyList_New(0);
    if (arrived == NULL || large == NULL)
        goto failed;
    for (Py_ssize_t index = 0; index < PyList_GET_SIZE(args[0]); index++) {
        PyObject *queue = PyList_GET_ITEM(args[0], index); /* `touched` keeps it, and nobody else has that list */
        const Py_ssize_t length = append_staged(queue, args[1], args[2], arrived);
        if (length < 0 || (length >= long_bytes && PyList_Append(large, queue) < 0))
            goto failed;
    }
    return Py_BuildValue("NN", arrived, large);
failed:
    Py_XDECREF(arrived);
    Py_XDECREF(large);
    return NULL;
}
