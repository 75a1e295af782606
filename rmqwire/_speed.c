/* The compiled module: what it offers, and the entries of the key index.
 *
 * Optional: `rmqwire.speed` offers these functions when they were built, and None in their place otherwise. Each has a
 * twin in Python, which is the reference; the tests hold both equal. A function that meets anything but the usual case
 * (malformed bytes, a limit that is broken) changes nothing and returns None: the twin then finds the right answer or
 * the right error.
 */

#include "_records.h"

/* -- entries of the key index ----------------------------------------------------------------------------------- */

uint32_t
rmq_java_hash(uint32_t hash, PyObject *text)
{
    const Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    const int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    if (kind == PyUnicode_1BYTE_KIND)
        return hash_latin(hash, data, length);
    for (Py_ssize_t index = 0; index < length; index++) {
        const uint32_t unit = PyUnicode_READ(kind, data, index);
        if (unit > 0xFFFF) {
            hash = hash * 31 + (0xD800 + ((unit - 0x10000) >> 10));
            hash = hash * 31 + (0xDC00 + ((unit - 0x10000) & 0x3FF));
        }
        else
            hash = hash * 31 + unit;
    }
    return hash;
}

PyDoc_STRVAR(add_keys_doc,
             "add_keys(messages: list, slots: memoryview, changed: bytearray, page_bits: int, number: int, limit: int,\n"
             "         begin: int, used: int) -> tuple[bytes, int, int, int]\n\n"
             "Make the index entries of messages, `(hasher, physical offset, store time, keys)` each, and enter them\n"
             "into the slots; the pages of changed slots become 1 in `changed`. Keys are texts, or bytes with hashes\n"
             "i32 and physical offsets i64. Stops before the message whose keys would pass `limit`. Gives the entries\n"
             "joined, how many messages were done, the next entry's number and the used slots.");

/* What `add_keys` writes to. */
typedef struct {
    int32_t *slots;
    uint32_t slot_num;
    unsigned char *changed;
    long long page_bits, number, used;
    unsigned char *entries;
    Py_ssize_t size, room;
} Entries;

static int
make_room(Entries *to, Py_ssize_t keys, Py_ssize_t messages)
{
    if (to->size + keys * 20 <= to->room)
        return 0;
    const Py_ssize_t room = (to->size + keys * 20) * 2 + 20 * messages;
    unsigned char *larger = PyMem_Realloc(to->entries, (size_t)room);
    if (larger == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    to->entries = larger;
    to->room = room;
    return 0;
}

static void
add_entry(Entries *to, uint32_t hash, long long physical, long long seconds)
{
    const uint32_t slot = hash % to->slot_num;
    const int32_t previous = to->slots[slot];
    unsigned char *entry = to->entries + to->size;
    put32(entry, hash);
    put64(entry + 4, (uint64_t)physical);
    put32(entry + 12, (uint32_t)seconds);
    put32(entry + 16, (uint32_t)previous);
    to->size += 20;
    to->slots[slot] = (int32_t)to->number;
    to->number++;
    to->used += previous == 0;
    to->changed[slot >> to->page_bits] = 1;
}

enum { AHEAD = 8 };

/* Keys that are hashed: their slots lie all over a table that no cache holds, so they are asked for in advance. */
static void
add_hashed_keys(Entries *to, const unsigned char *at, Py_ssize_t count, long long seconds)
{
    for (Py_ssize_t index = 0; index < count; index++, at += HASHED_KEY) {
        if (index + AHEAD < count)
            __builtin_prefetch(&to->slots[get32(at + AHEAD * HASHED_KEY) % to->slot_num], 1);
        add_entry(to, get32(at), (long long)get64(at + 4), seconds);
    }
}

static PyObject *
add_keys(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 8 || !PyList_CheckExact(args[0]) || !PyByteArray_CheckExact(args[2])) {
        PyErr_SetString(PyExc_TypeError, "add_keys takes a list, slots, a bytearray and five numbers");
        return NULL;
    }
    long long numbers[5];
    for (int index = 0; index < 5; index++) {
        numbers[index] = PyLong_AsLongLong(args[3 + index]);
        if (numbers[index] == -1 && PyErr_Occurred())
            return NULL;
    }
    const long long limit = numbers[2], begin = numbers[3];
    Py_buffer view;
    if (PyObject_GetBuffer(args[1], &view, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS) < 0)
        return NULL;
    Entries to = {view.buf, (uint32_t)(view.len / (Py_ssize_t)sizeof(int32_t)),
                  (unsigned char *)PyByteArray_AS_STRING(args[2]), numbers[0], numbers[1], numbers[4], NULL, 0, 0};
    PyObject *messages = args[0], *result = NULL, *hasher = NULL;
    Py_ssize_t done = 0;
    uint32_t topic_hash = 0;
    if (to.slot_num == 0 || to.page_bits < 0 || to.page_bits > 31 ||
        (to.slot_num - 1) >> to.page_bits >= (size_t)PyByteArray_GET_SIZE(args[2])) {
        PyErr_SetString(PyExc_ValueError, "no slots, or not as many pages");
        goto end;
    }
    for (; done < PyList_GET_SIZE(messages); done++) {
        PyObject *message = PyList_GET_ITEM(messages, done);
        if (!PyTuple_CheckExact(message) || PyTuple_GET_SIZE(message) != 4) {
            PyErr_SetString(PyExc_TypeError, "a message is (hasher, offset, time, keys)");
            goto end;
        }
        if (PyTuple_GET_ITEM(message, 0) != hasher) {
            hasher = PyTuple_GET_ITEM(message, 0);
            if (rmq_topic_hash(hasher, &topic_hash) < 0)
                goto end;
        }
        const long long physical = PyLong_AsLongLong(PyTuple_GET_ITEM(message, 1));
        const long long stored_at = PyLong_AsLongLong(PyTuple_GET_ITEM(message, 2));
        if (PyErr_Occurred())
            goto end;
        long long seconds = stored_at < begin ? 0 : (stored_at - begin) / 1000;
        if (seconds > 0x7FFFFFFF)
            seconds = 0x7FFFFFFF;
        PyObject *given = PyTuple_GET_ITEM(message, 3);
        if (PyBytes_CheckExact(given)) {
            const Py_ssize_t hashed = PyBytes_GET_SIZE(given) / HASHED_KEY;
            if (to.number + hashed > limit)
                break;
            if (make_room(&to, hashed, PyList_GET_SIZE(messages)) < 0)
                goto end;
            add_hashed_keys(&to, (const unsigned char *)PyBytes_AS_STRING(given), hashed, seconds);
            continue;
        }
        PyObject *keys = PySequence_Fast(given, "keys are a sequence");
        if (keys == NULL)
            goto end;
        const Py_ssize_t key_count = PySequence_Fast_GET_SIZE(keys);
        if (to.number + key_count > limit) {
            Py_DECREF(keys);
            break;
        }
        if (make_room(&to, key_count, PyList_GET_SIZE(messages)) < 0) {
            Py_DECREF(keys);
            goto end;
        }
        for (Py_ssize_t index = 0; index < key_count; index++) {
            PyObject *key = PySequence_Fast_GET_ITEM(keys, index);
            if (!PyUnicode_Check(key)) {
                Py_DECREF(keys);
                PyErr_SetString(PyExc_TypeError, "a key is a text");
                goto end;
            }
            add_entry(&to, index_hash(rmq_java_hash(topic_hash, key)), physical, seconds);
        }
        Py_DECREF(keys);
    }
    result = Py_BuildValue("y#nLL", to.entries == NULL ? "" : (const char *)to.entries, to.size, done, to.number, to.used);
end:
    PyMem_Free(to.entries);
    PyBuffer_Release(&view);
    return result;
}

/* ---------------------------------------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"read_ext", rmq_read_ext, METH_O, rmq_read_ext_doc},
    {"add_keys", (PyCFunction)(void (*)(void))add_keys, METH_FASTCALL, add_keys_doc},
    {"read_sends", (PyCFunction)(void (*)(void))rmq_read_sends, METH_FASTCALL, rmq_read_sends_doc},
    {"read_halves", (PyCFunction)(void (*)(void))rmq_read_halves, METH_FASTCALL, rmq_read_halves_doc},
    {"pack_sends", (PyCFunction)(void (*)(void))rmq_pack_sends, METH_FASTCALL, rmq_pack_sends_doc},
    {"send_answers", (PyCFunction)(void (*)(void))rmq_send_answers, METH_FASTCALL, rmq_send_answers_doc},
    {"read_batches", (PyCFunction)(void (*)(void))rmq_read_batches, METH_FASTCALL, rmq_read_batches_doc},
    {"pack_batches", (PyCFunction)(void (*)(void))rmq_pack_batches, METH_FASTCALL, rmq_pack_batches_doc},
    {"batch_answers", (PyCFunction)(void (*)(void))rmq_batch_answers, METH_FASTCALL, rmq_batch_answers_doc},
    {"cut_frames", (PyCFunction)(void (*)(void))rmq_cut_frames, METH_FASTCALL, rmq_cut_frames_doc},
    {"append_units", (PyCFunction)(void (*)(void))rmq_append_units, METH_FASTCALL, rmq_append_units_doc},
    {"keep_freed", rmq_keep_freed, METH_O, rmq_keep_freed_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "rmqwire._speed", "Compiled twins of a few loops; see rmqwire.speed.", -1, functions,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__speed(void)
{
    if (rmq_queues_init() < 0 || rmq_keys_init() < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && (rmq_crc_init(module) < 0 || rmq_syncs_init(module) < 0))
        Py_CLEAR(module);
    return module;
}
