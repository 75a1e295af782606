/* Records of batches: those of a read in one call.
 *
 * `BatchWriter.stage_client_batch` is the reference and serves everything that is not plainly usual: whatever this does not
 * know it leaves alone, and the tests hold both ways equal.
 */

#include "_records.h"
#include "_requests.h"

static PyObject *topic_hash_name;

int
rmq_batches_init(void)
{
    topic_hash_name = PyUnicode_InternFromString("_topic_hash");
    return topic_hash_name == NULL ? -1 : 0;
}

/* -- keys of their messages --------------------------------------------------------------------------------------- */

/* Keys that were hashed, as `store/keyed.py` has them. */
typedef struct {
    unsigned char *at;
    Py_ssize_t size, room;
    long long last; /* physical offset of the last one */
} Hashed;

static int
add_hashed(Hashed *hashed, uint32_t hash, long long position)
{
    if (hashed->size + HASHED_KEY > hashed->room) {
        const Py_ssize_t room = hashed->room * 2 + 64 * HASHED_KEY;
        unsigned char *larger = PyMem_Realloc(hashed->at, (size_t)room);
        if (larger == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        hashed->at = larger;
        hashed->room = room;
    }
    put32(hashed->at + hashed->size, index_hash(hash));
    put64(hashed->at + hashed->size + 4, (uint64_t)position);
    hashed->size += HASHED_KEY;
    hashed->last = position;
    return 0;
}

/* `rmq_java_hash` of UTF-8, in which wrong bytes are replacement characters; -1 with an error. */
static int
hash_text(uint32_t *hash, Slice text)
{
    unsigned char all = 0;
    for (Py_ssize_t index = 0; index < text.size; index++)
        all |= text.at[index];
    if (all < 0x80) {
        *hash = hash_latin(*hash, text.at, text.size);
        return 0;
    }
    PyObject *decoded = PyUnicode_DecodeUTF8((const char *)text.at, text.size, "replace");
    if (decoded == NULL)
        return -1;
    *hash = rmq_java_hash(*hash, decoded);
    Py_DECREF(decoded);
    return 0;
}

static int
hash_key(Hashed *hashed, uint32_t hash, Slice key, long long position)
{
    return hash_text(&hash, key) < 0 ? -1 : add_hashed(hashed, hash, position);
}

/* `tags_and_keys`: the code of the tags, and the keys hashed; -1 with an error. */
static int
read_keys(const unsigned char *at, Py_ssize_t size, uint32_t topic_hash, long long position, Hashed *hashed,
          int32_t *tags_code)
{
    Slice unique = {NULL, 0}, keys = {NULL, 0}, tags = {NULL, 0}, name, value;
    for (const unsigned char *end = at + size; next_pair(&at, end, &name, &value);) {
        if (value.size < 0)
            continue;
        if (equals(name, "KEYS")) /* of one name the last counts */
            keys = value;
        else if (equals(name, "TAGS"))
            tags = value;
        else if (equals(name, "UNIQ_KEY"))
            unique = value;
    }
    *tags_code = 0;
    if (unique.size > 0 && hash_key(hashed, topic_hash, unique, position) < 0)
        return -1;
    for (const unsigned char *next = keys.at, *end = keys.at + keys.size; next < end;) {
        const unsigned char *stop = memchr(next, ' ', (size_t)(end - next));
        const Slice one = {next, (stop == NULL ? end : stop) - next};
        if (one.size > 0 && hash_key(hashed, topic_hash, one, position) < 0)
            return -1;
        next = one.at + one.size + 1;
    }
    if (tags.size > 0) {
        uint32_t code = 0;
        if (hash_text(&code, tags) < 0)
            return -1;
        *tags_code = (int32_t)code;
        return hash_key(hashed, hash_latin(topic_hash, (const unsigned char *)"T#", 2), tags, position);
    }
    return 0;
}

static int
add_keyed(PyObject *keyed, PyObject *hasher, const Hashed *hashed, PyObject *timestamp)
{
    PyObject *offset = PyLong_FromLongLong(hashed->last);
    PyObject *keys = PyBytes_FromStringAndSize((const char *)hashed->at, hashed->size);
    PyObject *entry = offset == NULL || keys == NULL ? NULL : PyTuple_Pack(4, hasher, offset, timestamp, keys);
    const int failed = entry == NULL || PyList_Append(keyed, entry) < 0;
    Py_XDECREF(offset);
    Py_XDECREF(keys);
    Py_XDECREF(entry);
    return failed ? -1 : 0;
}

/* -- making their records ----------------------------------------------------------------------------------------- */

enum { ENTRY_HEAD = 20, ENTRY_FIXED = 22, TEMPLATE_MAX = 128 };

typedef struct {
    long long body_max, record_max, properties_max;
    Py_ssize_t fixed;
} Limits;

/* The size of the records of a batch, and how many they are; -1 when it is malformed, or a limit is broken. */
static long long
measure(const unsigned char *at, Py_ssize_t size, const Limits *limits, Py_ssize_t *messages)
{
    const unsigned char *end = at + size;
    long long total = 0;
    Py_ssize_t count = 0;
    while (at < end) {
        if (end - at < ENTRY_FIXED)
            return -1;
        const long long body_size = (int32_t)get32(at + 16);
        if (body_size < 0 || end - at - ENTRY_FIXED < body_size)
            return -1;
        const unsigned char *length = at + ENTRY_HEAD + body_size;
        const long long properties_size = (int16_t)((uint16_t)length[0] << 8 | length[1]);
        if (properties_size < 0 || end - length - 2 < properties_size)
            return -1;
        const long long record_size = limits->fixed + body_size + properties_size;
        if (body_size > limits->body_max || properties_size > limits->properties_max || record_size > limits->record_max)
            return -1;
        at = length + 2 + properties_size;
        total += record_size;
        count++;
    }
    *messages = count;
    return count == 0 || total > limits->record_max ? -1 : total;
}

/* What is done with a batch: its records are written, and its units and places. */
typedef struct {
    unsigned char template[TEMPLATE_MAX];
    Py_ssize_t template_size;
    Slice topic;
    uint32_t topic_hash;
    unsigned char *record, *place;
    long long position;
    Hashed hashed;
} Packing;

static int
pack_one(Packing *packing, PyObject *body, Py_ssize_t messages, long long queue_offset, unsigned char *unit)
{
    const unsigned char *at = (const unsigned char *)PyBytes_AS_STRING(body);
    const Py_ssize_t template_size = packing->template_size, topic_size = packing->topic.size;
    unsigned char *record = packing->record, *place = packing->place;
    long long position = packing->position;
    put64(place, (uint64_t)messages);
    put64(place + 8, (uint64_t)queue_offset);
    place += BATCH_HEAD;
    for (Py_ssize_t index = 0; index < messages; index++) {
        const Py_ssize_t body_size = (Py_ssize_t)get32(at + 16);
        const unsigned char *body_at = at + ENTRY_HEAD, *length = body_at + body_size;
        const Py_ssize_t properties_size = (Py_ssize_t)((uint16_t)length[0] << 8 | length[1]);
        const Py_ssize_t size = template_size + topic_size + 2 + body_size + properties_size;
        int32_t tags_code;
        if (read_keys(length + 2, properties_size, packing->topic_hash, position, &packing->hashed, &tags_code) < 0)
            return -1;
        memcpy(record, packing->template, (size_t)template_size);
        put32(record + AT_SIZE, (uint32_t)size);
        put32(record + AT_CRC, rmq_crc32(body_at, (size_t)body_size) & 0x7FFFFFFFu);
        memcpy(record + AT_FLAG, at + 12, 4);
        put64(record + AT_QUEUE_OFFSET, (uint64_t)(queue_offset + index));
        put64(record + AT_POSITION, (uint64_t)position);
        put32(record + template_size - 4, (uint32_t)body_size);
        record += template_size;
        memcpy(record, body_at, (size_t)body_size);
        record += body_size;
        memcpy(record, packing->topic.at, (size_t)topic_size);
        record += topic_size;
        memcpy(record, length, 2 + (size_t)properties_size);
        record += 2 + properties_size;
        put64(unit, (uint64_t)position);
        put32(unit + 8, (uint32_t)size);
        put64(unit + 12, (uint64_t)(int64_t)tags_code);
        unit += UNIT;
        put64(place, (uint64_t)position);
        place += BATCH_PLACE;
        position += size;
        at = length + 2 + properties_size;
    }
    packing->record = record;
    packing->place = place;
    packing->position = position;
    return 0;
}

/* Stage the units of a batch in its queue, and make its records; -1 with an error. */
static int
stage_one(Packing *packing, PyObject *batch, PyObject *queue, PyObject *touched, const unsigned char *template,
          Py_ssize_t messages)
{
    PyObject **staged = rmq_slot_of(queue, STAGED), **next = staged == NULL ? NULL : rmq_slot_of(queue, STAGED_NEXT);
    if (next == NULL)
        return -1;
    if (!PyByteArray_CheckExact(*staged)) {
        PyErr_SetString(PyExc_TypeError, "a queue has staged units in a bytearray");
        return -1;
    }
    const long long queue_offset = PyLong_AsLongLong(*next);
    const long long sys_flag = PyLong_AsLongLong(PyTuple_GET_ITEM(batch, B_SYS_FLAG));
    const long long born = PyLong_AsLongLong(PyTuple_GET_ITEM(batch, B_BORN));
    PyObject *after = PyErr_Occurred() ? NULL : PyLong_FromLongLong(queue_offset + messages);
    if (after == NULL)
        return -1;
    memcpy(packing->template, template, (size_t)packing->template_size);
    put32(packing->template + AT_QUEUE_ID, (uint32_t)PyLong_AsLongLong(PyTuple_GET_ITEM(batch, B_QUEUE)));
    put32(packing->template + AT_SYS_FLAG, get32(template + AT_SYS_FLAG) | (uint32_t)sys_flag);
    put64(packing->template + AT_BORN, (uint64_t)born);
    int done = -1;
    if (PyByteArray_GET_SIZE(*staged) > 0 || PyList_Append(touched, queue) == 0) {
        unsigned char *unit = rmq_grow(*staged, messages * UNIT);
        if (unit != NULL)
            done = pack_one(packing, PyTuple_GET_ITEM(batch, B_BODY), messages, queue_offset, unit);
    }
    if (done == 0)
        set_slot(next, after);
    Py_DECREF(after);
    return done;
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
    PyObject *batches = args[0], *queues = args[2], *touched = args[3], *keyed = args[4], *timestamp = args[7];
    const Py_ssize_t first = rmq_place(args[1]);
    if (first < 0)
        return NULL;
    long long numbers[6];
    for (int index = 0; index < 6; index++)
        numbers[index] = PyLong_AsLongLong(args[8 + index]);
    if (PyErr_Occurred())
        return NULL;
    const unsigned char *template = (const unsigned char *)PyBytes_AS_STRING(args[5]);
    Packing packing;
    packing.template_size = PyBytes_GET_SIZE(args[5]);
    packing.topic.at = (const unsigned char *)PyBytes_AS_STRING(args[6]);
    packing.topic.size = PyBytes_GET_SIZE(args[6]);
    packing.position = numbers[0];
    packing.topic_hash = 0;
    memset(&packing.hashed, 0, sizeof packing.hashed);
    if (packing.template_size < TEMPLATE_MIN || packing.template_size > TEMPLATE_MAX) {
        PyErr_SetString(PyExc_ValueError, "a template of a wrong size");
        return NULL;
    }
    const Limits limits = {numbers[2], numbers[3], numbers[4], packing.template_size + packing.topic.size + 2};
    const long long batch_max = numbers[1], total_max = numbers[5];

    const Py_ssize_t given = PyList_GET_SIZE(batches) > first ? PyList_GET_SIZE(batches) - first : 0;
    Py_ssize_t *messages = PyMem_New(Py_ssize_t, given ? given : 1), done = 0, all_messages = 0;
    PyObject *records = NULL, *places = NULL, *hasher = NULL;
    if (messages == NULL)
        return PyErr_NoMemory();
    long long total = 0;
    for (; done < given; done++) {
        PyObject *batch = PyList_GET_ITEM(batches, first + done);
        if (!rmq_is_batch(batch)) {
            PyErr_SetString(PyExc_TypeError, "a batch is what read_batches gives");
            goto failed;
        }
        PyObject *body = PyTuple_GET_ITEM(batch, B_BODY);
        const long long queue_id = number_at(batch, B_QUEUE);
        if (PyErr_Occurred())
            goto failed;
        if (queue_id < 0 || queue_id >= PyList_GET_SIZE(queues) || PyList_GET_ITEM(queues, queue_id) == Py_None ||
            PyBytes_GET_SIZE(body) > batch_max)
            break;
        const long long size =
            measure((const unsigned char *)PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), &limits, &messages[done]);
        if (size < 0 || total + size > total_max)
            break;
        total += size;
        all_messages += messages[done];
    }
    records = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
    places = PyBytes_FromStringAndSize(NULL, done * BATCH_HEAD + all_messages * BATCH_PLACE);
    if (records == NULL || places == NULL)
        goto failed;
    packing.record = (unsigned char *)PyBytes_AS_STRING(records);
    packing.place = (unsigned char *)PyBytes_AS_STRING(places);
    for (Py_ssize_t index = 0; index < done; index++) {
        PyObject *batch = PyList_GET_ITEM(batches, first + index);
        PyObject *queue = PyList_GET_ITEM(queues, PyLong_AsSsize_t(PyTuple_GET_ITEM(batch, B_QUEUE)));
        if (hasher == NULL) {
            PyObject **slot = rmq_slot_of(queue, HASHER), *hash = slot == NULL ? NULL : PyObject_GetAttr(*slot, topic_hash_name);
            if (hash == NULL)
                goto failed;
            hasher = Py_NewRef(*slot);
            packing.topic_hash = (uint32_t)PyLong_AsUnsignedLongMask(hash);
            Py_DECREF(hash);
            if (PyErr_Occurred())
                goto failed;
        }
        if (stage_one(&packing, batch, queue, touched, template, messages[index]) < 0)
            goto failed;
    }
    if (packing.hashed.size > 0 && add_keyed(keyed, hasher, &packing.hashed, timestamp) < 0)
        goto failed;
    PyMem_Free(messages);
    PyMem_Free(packing.hashed.at);
    Py_XDECREF(hasher);
    return Py_BuildValue("NNnn", records, places, done, all_messages);
failed:
    PyMem_Free(messages);
    PyMem_Free(packing.hashed.at);
    Py_XDECREF(hasher);
    Py_XDECREF(records);
    Py_XDECREF(places);
    return NULL;
}
