/* Records of batches: those of a read in one call.
 *
 * `BatchWriter.stage_client_batch` is the reference and serves everything that is not plainly usual: whatever this does
 * not know it leaves alone, and the tests hold both ways equal.
 */

#include "_records.h"
#include "_requests.h"

/* A message in the body of a batch: size, magic, CRC, flag i32, length of the body i32, body, length of the properties
 * i16, properties. */
enum { ENTRY_FLAG = 12, ENTRY_BODY_SIZE = 16, ENTRY_HEAD = 20, ENTRY_FIXED = 22 };
enum { TEMPLATE_MAX = 128 };

/* What is equal in a run, and its limits. */
typedef struct {
    PyObject *batches, *queues, *touched;
    Py_ssize_t first;
    Slice template, topic;
    long long batch_max, body_max, record_max, properties_max, total_max;
} Run;

/* -- how many, and how large -------------------------------------------------------------------------------------- */

/* The size of the records of a batch, and how many they are; -1 when it is malformed, or a limit is broken. */
static long long
measure(const Run *run, Slice batch, Py_ssize_t *messages)
{
    const unsigned char *at = batch.at, *end = at + batch.size;
    const Py_ssize_t fixed = run->template.size + run->topic.size + 2;
    long long total = 0;
    Py_ssize_t count = 0;
    while (at < end) {
        if (end - at < ENTRY_FIXED)
            return -1;
        const long long body_size = (int32_t)get32(at + ENTRY_BODY_SIZE);
        if (body_size < 0 || end - at - ENTRY_FIXED < body_size)
            return -1;
        const unsigned char *length = at + ENTRY_HEAD + body_size;
        const long long properties_size = (int16_t)((uint16_t)length[0] << 8 | length[1]);
        if (properties_size < 0 || end - length - 2 < properties_size)
            return -1;
        const long long record_size = fixed + body_size + properties_size;
        if (body_size > run->body_max || properties_size > run->properties_max || record_size > run->record_max)
            return -1;
        at = length + 2 + properties_size;
        total += record_size;
        count++;
    }
    *messages = count;
    return count == 0 || total > run->record_max ? -1 : total;
}

/* How many batches can be packed, the first of `given`; how many messages each has, and all, and how large these become.
 * -1 with an error. */
static Py_ssize_t
measure_all(const Run *run, Py_ssize_t given, Py_ssize_t *messages, Py_ssize_t *all_messages, long long *total)
{
    Py_ssize_t done = 0;
    for (; done < given; done++) {
        PyObject *batch = PyList_GET_ITEM(run->batches, run->first + done);
        if (!rmq_is_batch(batch)) {
            PyErr_SetString(PyExc_TypeError, "a batch is what read_batches gives");
            return -1;
        }
        const Slice body = bytes_of(PyTuple_GET_ITEM(batch, B_BODY));
        const long long queue_id = number_at(batch, B_QUEUE);
        if (PyErr_Occurred())
            return -1;
        if (queue_id < 0 || queue_id >= PyList_GET_SIZE(run->queues) ||
            PyList_GET_ITEM(run->queues, queue_id) == Py_None || body.size > run->batch_max)
            break;
        const long long size = measure(run, body, &messages[done]);
        if (size < 0 || *total + size > run->total_max)
            break;
        *total += size;
        *all_messages += messages[done];
    }
    return done;
}

/* -- records ------------------------------------------------------------------------------------------------------ */

/* Where the next ones go. */
typedef struct {
    unsigned char *record, *place;
    long long position;
    uint32_t topic_hash;
    Hashed hashed;
} Packing;

/* Make the records, units and places of a batch, whose template has all that is equal in it; -1 with an error. */
static int
pack_messages(Packing *packing, Slice template, Slice topic, const unsigned char *at, Py_ssize_t messages,
              long long queue_offset, unsigned char *unit)
{
    unsigned char *record = packing->record, *place = packing->place;
    long long position = packing->position;
    put64(place, (uint64_t)messages);
    put64(place + 8, (uint64_t)queue_offset);
    place += BATCH_HEAD;
    for (Py_ssize_t index = 0; index < messages; index++) {
        const Slice body = {at + ENTRY_HEAD, (Py_ssize_t)get32(at + ENTRY_BODY_SIZE)};
        const unsigned char *length = body.at + body.size;
        const Slice properties = {length + 2, (Py_ssize_t)((uint16_t)length[0] << 8 | length[1])};
        const Py_ssize_t size = template.size + body.size + topic.size + 2 + properties.size;
        int32_t tags_code;
        if (rmq_hash_keys(properties, packing->topic_hash, position, &packing->hashed, &tags_code) < 0)
            return -1;
        begin_record(record, template, size, body, queue_offset + index, position);
        memcpy(record + AT_FLAG, at + ENTRY_FLAG, 4);
        record += template.size;
        memcpy(record, body.at, (size_t)body.size);
        record += body.size;
        memcpy(record, topic.at, (size_t)topic.size);
        record += topic.size;
        memcpy(record, length, 2 + (size_t)properties.size);
        record += 2 + properties.size;
        put_unit(unit, position, size, tags_code);
        unit += UNIT;
        put64(place, (uint64_t)position);
        place += BATCH_PLACE;
        position += size;
        at = properties.at + properties.size;
    }
    packing->record = record;
    packing->place = place;
    packing->position = position;
    return 0;
}

/* Stage the units of a batch in its queue, and make its records; -1 with an error. */
static int
pack_batch(Packing *packing, const Run *run, PyObject *batch, PyObject *queue, Py_ssize_t messages)
{
    const long long queue_id = number_at(batch, B_QUEUE), sys_flag = number_at(batch, B_SYS_FLAG);
    const long long born = number_at(batch, B_BORN);
    long long queue_offset;
    unsigned char filled[TEMPLATE_MAX];
    unsigned char *unit = PyErr_Occurred() ? NULL : rmq_stage_units(queue, run->touched, messages, &queue_offset);
    if (unit == NULL)
        return -1;
    memcpy(filled, run->template.at, (size_t)run->template.size);
    put32(filled + AT_QUEUE_ID, (uint32_t)queue_id);
    put32(filled + AT_SYS_FLAG, get32(filled + AT_SYS_FLAG) | (uint32_t)sys_flag);
    put64(filled + AT_BORN, (uint64_t)born);
    const Slice template = {filled, run->template.size}, body = bytes_of(PyTuple_GET_ITEM(batch, B_BODY));
    return pack_messages(packing, template, run->topic, body.at, messages, queue_offset, unit);
}

/* Pack the first batches of a run, and note their keys; -1 with an error. */
static int
pack_all(Packing *packing, const Run *run, Py_ssize_t batches, const Py_ssize_t *messages, PyObject *keyed,
         PyObject *timestamp)
{
    PyObject *hasher = NULL;
    int failed = 0;
    for (Py_ssize_t index = 0; !failed && index < batches; index++) {
        PyObject *batch = PyList_GET_ITEM(run->batches, run->first + index);
        PyObject *queue = PyList_GET_ITEM(run->queues, number_at(batch, B_QUEUE));
        if (hasher == NULL) {
            PyObject **slot = rmq_slot_of(queue, HASHER);
            if (slot == NULL)
                return -1;
            hasher = Py_NewRef(*slot);
            failed = rmq_topic_hash(hasher, &packing->topic_hash) < 0;
        }
        failed = failed || pack_batch(packing, run, batch, queue, messages[index]) < 0;
    }
    if (!failed && packing->hashed.size > 0)
        failed = rmq_add_hashed(keyed, hasher, &packing->hashed, timestamp) < 0;
    Py_XDECREF(hasher);
    return failed ? -1 : 0;
}

const char rmq_pack_batches_doc[] =
    "pack_batches(batches: list, first: int, queues: list, touched: list, keyed: list, template: bytes,\n"
    "             topic_field: bytes, timestamp: int, position: int, batch_max: int, body_max: int, record_max: int,\n"
    "             properties_max: int, total_max: int) -> tuple[bytes, bytes, int, int]\n\n"
    "Make the records of batches to one topic, from `first` on, and stage their units in `queues` (by queue id; None for\n"
    "one that is not open). Stops before the first one that is malformed, breaks a limit, has no queue there or no room.\n"
    "The template is a record up to its body length, with all that is equal in the run. Gives the records joined, of\n"
    "each batch how many messages it has i64, the queue offset of the first i64 and the physical offset of each i64, how\n"
    "many batches were done, and how many messages.";

PyObject *
rmq_pack_batches(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 14 || !PyList_CheckExact(args[0]) || !PyList_CheckExact(args[2]) || !PyList_CheckExact(args[3]) ||
        !PyList_CheckExact(args[4]) || !PyBytes_CheckExact(args[5]) || !PyBytes_CheckExact(args[6])) {
        PyErr_SetString(PyExc_TypeError, "pack_batches takes batches, a number, three lists, two bytes and seven numbers");
        return NULL;
    }
    long long numbers[6];
    const Py_ssize_t first = rmq_place(args[1]);
    if (first < 0 || rmq_numbers(args + 8, 6, numbers) < 0)
        return NULL;
    const Run run = {
        .batches = args[0], .queues = args[2], .touched = args[3], .first = first, .template = bytes_of(args[5]),
        .topic = bytes_of(args[6]), .batch_max = numbers[1], .body_max = numbers[2], .record_max = numbers[3],
        .properties_max = numbers[4], .total_max = numbers[5],
    };
    if (run.template.size < TEMPLATE_MIN || run.template.size > TEMPLATE_MAX) {
        PyErr_SetString(PyExc_ValueError, "a template of a wrong size");
        return NULL;
    }
    const Py_ssize_t given = PyList_GET_SIZE(run.batches) > first ? PyList_GET_SIZE(run.batches) - first : 0;
    Py_ssize_t *messages = PyMem_New(Py_ssize_t, given ? given : 1), all_messages = 0;
    if (messages == NULL)
        return PyErr_NoMemory();
    long long total = 0;
    const Py_ssize_t done = measure_all(&run, given, messages, &all_messages, &total);
    PyObject *result = NULL, *records = NULL, *places = NULL;
    if (done >= 0) {
        records = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
        places = PyBytes_FromStringAndSize(NULL, done * BATCH_HEAD + all_messages * BATCH_PLACE);
    }
    if (records != NULL && places != NULL) {
        Packing packing = {.record = (unsigned char *)PyBytes_AS_STRING(records),
                           .place = (unsigned char *)PyBytes_AS_STRING(places), .position = numbers[0]};
        if (pack_all(&packing, &run, done, messages, args[4], args[7]) == 0)
            result = Py_BuildValue("OOnn", records, places, done, all_messages);
        PyMem_Free(packing.hashed.at);
    }
    PyMem_Free(messages);
    Py_XDECREF(records);
    Py_XDECREF(places);
    return result;
}
