/* Keys of messages on their way to the index: as texts, or, of batches, already hashed.
 *
 * `rmqwire.properties.tags_and_keys` and `rmqd.store.keyed` are the reference.
 */

#include "_records.h"
#include "_requests.h"

static PyObject *topic_hash_name;

int
rmq_keys_init(void)
{
    topic_hash_name = PyUnicode_InternFromString("_topic_hash");
    return topic_hash_name == NULL ? -1 : 0;
}

int
rmq_topic_hash(PyObject *hasher, uint32_t *hash)
{
    PyObject *number = PyObject_GetAttr(hasher, topic_hash_name);
    if (number == NULL)
        return -1;
    *hash = (uint32_t)PyLong_AsUnsignedLongMask(number);
    Py_DECREF(number);
    return PyErr_Occurred() ? -1 : 0;
}

int
rmq_add_keyed(PyObject *keyed, PyObject *hasher, long long position, PyObject *timestamp, PyObject *keys)
{
    PyObject *offset = PyLong_FromLongLong(position);
    PyObject *entry = offset == NULL ? NULL : PyTuple_Pack(4, hasher, offset, timestamp, keys);
    const int failed = entry == NULL || PyList_Append(keyed, entry) < 0;
    Py_XDECREF(offset);
    Py_XDECREF(entry);
    return failed ? -1 : 0;
}

/* -- hashed ones -------------------------------------------------------------------------------------------------- */

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
    if (hash_text(&hash, key) < 0)
        return -1;
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

int
rmq_hash_keys(Slice properties, uint32_t topic_hash, long long position, Hashed *hashed, int32_t *tags_code)
{
    Slice unique = {NULL, 0}, keys = {NULL, 0}, tags = {NULL, 0}, name, value;
    const unsigned char *at = properties.at, *end = at + properties.size;
    while (next_pair(&at, end, &name, &value)) {
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
    for (const unsigned char *next = keys.at, *stop = keys.at + keys.size; next < stop;) {
        const unsigned char *space = memchr(next, ' ', (size_t)(stop - next));
        const Slice one = {next, (space == NULL ? stop : space) - next};
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

int
rmq_add_hashed(PyObject *keyed, PyObject *hasher, const Hashed *hashed, PyObject *timestamp)
{
    PyObject *keys = PyBytes_FromStringAndSize((const char *)hashed->at, hashed->size);
    const int failed = keys == NULL || rmq_add_keyed(keyed, hasher, hashed->last, timestamp, keys) < 0;
    Py_XDECREF(keys);
    return failed ? -1 : 0;
}
