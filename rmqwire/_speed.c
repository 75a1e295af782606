/* The few loops that stay hot in Python: ext fields of binary headers, records of a batch, entries of the key index.
 *
 * Optional: `rmqwire.speed` offers these functions when they were built, and None in their place otherwise. Each has a
 * twin in Python, which is the reference; the tests hold both equal. A function that meets anything but the usual case
 * (malformed bytes, a limit that is broken) changes nothing and returns None: the twin then finds the right answer or
 * the right error.
 */

#include "_speed.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

/* -- ext fields of a binary header ------------------------------------------------------------------------------ */

PyDoc_STRVAR(read_ext_doc, "read_ext(data: bytes) -> dict[str, str] | None\n\n"
                           "Entries `key length i16, key | value length i32, value`, those without a value left out.\n"
                           "None for lengths that leave the data, and for bytes that are not UTF-8.");

static PyObject *
read_ext(PyObject *module, PyObject *data)
{
    (void)module;
    if (!PyBytes_CheckExact(data)) {
        PyErr_SetString(PyExc_TypeError, "bytes expected");
        return NULL;
    }
    const unsigned char *at = (const unsigned char *)PyBytes_AS_STRING(data);
    const unsigned char *end = at + PyBytes_GET_SIZE(data);
    PyObject *ext = PyDict_New();
    if (ext == NULL)
        return NULL;
    while (at < end) {
        if (end - at < 6)
            goto unusual;
        Py_ssize_t key_size = (int16_t)((uint16_t)at[0] << 8 | at[1]);
        const unsigned char *key_at = at + 2;
        if (key_size < 0 || end - key_at < key_size + 4)
            goto unusual;
        Py_ssize_t value_size = (int32_t)get32(key_at + key_size);
        const unsigned char *value_at = key_at + key_size + 4;
        if (value_size < 0 || end - value_at < value_size)
            goto unusual;
        at = value_at + value_size;
        if (value_size == 0)
            continue;
        PyObject *key = PyUnicode_DecodeUTF8((const char *)key_at, key_size, NULL);
        PyObject *value = key == NULL ? NULL : PyUnicode_DecodeUTF8((const char *)value_at, value_size, NULL);
        int failed = value == NULL || PyDict_SetItem(ext, key, value) < 0;
        Py_XDECREF(key);
        Py_XDECREF(value);
        if (failed) {
            if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
                Py_DECREF(ext);
                return NULL;
            }
            PyErr_Clear();
            goto unusual;
        }
    }
    return ext;
unusual:
    Py_DECREF(ext);
    Py_RETURN_NONE;
}

/* -- records of a batch ----------------------------------------------------------------------------------------- */

enum { ENTRY_HEAD = 20, ENTRY_FIXED = 22, UNIT = 20, TEMPLATE_MIN = 88 };
enum { AT_SIZE = 0, AT_CRC = 8, AT_FLAG = 16, AT_QUEUE_OFFSET = 20, AT_POSITION = 28 };

static const char UNIQUE_BEGIN[] = "UNIQ_KEY\x01";
static const char WAIT_TRUE[] = "WAIT\x01true\x02";

/* The unique key of properties that hold one, maybe WAIT=true, and nothing else; NULL for any other. */
static const unsigned char *
usual_key(const unsigned char *at, Py_ssize_t size, Py_ssize_t *key_size)
{
    const Py_ssize_t begin = (Py_ssize_t)sizeof UNIQUE_BEGIN - 1, wait = (Py_ssize_t)sizeof WAIT_TRUE - 1;
    if (size <= begin || memcmp(at, UNIQUE_BEGIN, (size_t)begin) != 0)
        return NULL;
    const unsigned char *stop = memchr(at + begin, 2, (size_t)(size - begin));
    if (stop == NULL || stop == at + begin)
        return NULL;
    const unsigned char *rest = stop + 1;
    Py_ssize_t rest_size = at + size - rest;
    if (rest_size != 0 && !((rest_size == wait || rest_size == wait - 1) && memcmp(rest, WAIT_TRUE, (size_t)rest_size) == 0))
        return NULL;
    for (const unsigned char *one = at + begin; one < stop; one++)
        if (*one >= 0x80)
            return NULL;
    *key_size = stop - (at + begin);
    return at + begin;
}

PyDoc_STRVAR(pack_batch_doc,
             "pack_batch(body: bytes, template: bytes, topic_field: bytes, position: int, queue_offset: int,\n"
             "           body_max: int, record_max: int, properties_max: int, total_max: int)\n"
             "    -> tuple[bytes, bytes, list[int], list[int], list[str | None], list[bytes | None]] | None\n\n"
             "Make the records and queue units of a client's batch.\n\n"
             "The template is a record up to its body length, with all that is equal in the batch. Gives the records\n"
             "joined, the units joined (tags code 0), offsets, sizes, and of each message its unique key when its\n"
             "properties are a unique key and WAIT, else the properties. None when the body is malformed or a limit is\n"
             "broken.");

static PyObject *
pack_batch(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 9 || !PyBytes_CheckExact(args[0]) || !PyBytes_CheckExact(args[1]) || !PyBytes_CheckExact(args[2])) {
        PyErr_SetString(PyExc_TypeError, "pack_batch takes three bytes and six numbers");
        return NULL;
    }
    const unsigned char *body = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    const unsigned char *end = body + PyBytes_GET_SIZE(args[0]);
    const unsigned char *template = (const unsigned char *)PyBytes_AS_STRING(args[1]);
    const Py_ssize_t template_size = PyBytes_GET_SIZE(args[1]);
    const unsigned char *topic = (const unsigned char *)PyBytes_AS_STRING(args[2]);
    const Py_ssize_t topic_size = PyBytes_GET_SIZE(args[2]);
    long long numbers[6];
    for (int index = 0; index < 6; index++) {
        numbers[index] = PyLong_AsLongLong(args[3 + index]);
        if (numbers[index] == -1 && PyErr_Occurred())
            return NULL;
    }
    const long long position = numbers[0], queue_offset = numbers[1];
    const long long body_max = numbers[2], record_max = numbers[3], properties_max = numbers[4], total_max = numbers[5];
    if (template_size < TEMPLATE_MIN) {
        PyErr_SetString(PyExc_ValueError, "the template is too short");
        return NULL;
    }
    const Py_ssize_t fixed = template_size + topic_size + 2;

    Py_ssize_t messages = 0;
    long long total = 0;
    for (const unsigned char *at = body; at < end;) {
        if (end - at < ENTRY_FIXED)
            Py_RETURN_NONE;
        const long long body_size = (int32_t)get32(at + 16);
        if (body_size < 0 || end - at - ENTRY_FIXED < body_size)
            Py_RETURN_NONE;
        const unsigned char *length = at + ENTRY_HEAD + body_size;
        const long long properties_size = (int16_t)((uint16_t)length[0] << 8 | length[1]);
        if (properties_size < 0 || end - length - 2 < properties_size)
            Py_RETURN_NONE;
        const long long size = fixed + body_size + properties_size;
        if (body_size > body_max || properties_size > properties_max || size > record_max)
            Py_RETURN_NONE;
        at = length + 2 + properties_size;
        total += size;
        messages++;
    }
    if (messages == 0 || total > total_max)
        Py_RETURN_NONE;

    PyObject *records = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
    PyObject *units = PyBytes_FromStringAndSize(NULL, messages * UNIT);
    PyObject *offsets = PyList_New(messages), *sizes = PyList_New(messages);
    PyObject *keys = PyList_New(messages), *others = PyList_New(messages);
    if (records == NULL || units == NULL || offsets == NULL || sizes == NULL || keys == NULL || others == NULL)
        goto failed;
    unsigned char *record = (unsigned char *)PyBytes_AS_STRING(records);
    unsigned char *unit = (unsigned char *)PyBytes_AS_STRING(units);
    long long offset = position;
    const unsigned char *at = body;
    for (Py_ssize_t index = 0; index < messages; index++) {
        const Py_ssize_t body_size = (Py_ssize_t)get32(at + 16);
        const unsigned char *body_at = at + ENTRY_HEAD, *length = body_at + body_size, *properties = length + 2;
        const Py_ssize_t properties_size = (Py_ssize_t)((uint16_t)length[0] << 8 | length[1]);
        const Py_ssize_t size = fixed + body_size + properties_size;
        memcpy(record, template, (size_t)template_size);
        put32(record + AT_SIZE, (uint32_t)size);
        put32(record + AT_CRC, rmq_crc32(body_at, (size_t)body_size) & 0x7FFFFFFFu);
        memcpy(record + AT_FLAG, at + 12, 4);
        put64(record + AT_QUEUE_OFFSET, (uint64_t)(queue_offset + index));
        put64(record + AT_POSITION, (uint64_t)offset);
        put32(record + template_size - 4, (uint32_t)body_size);
        record += template_size;
        memcpy(record, body_at, (size_t)body_size);
        record += body_size;
        memcpy(record, topic, (size_t)topic_size);
        record += topic_size;
        memcpy(record, length, 2 + (size_t)properties_size);
        record += 2 + properties_size;
        put64(unit, (uint64_t)offset);
        put32(unit + 8, (uint32_t)size);
        memset(unit + 12, 0, 8);
        unit += UNIT;
        Py_ssize_t key_size = 0;
        const unsigned char *key = usual_key(properties, properties_size, &key_size);
        PyObject *key_text = key == NULL ? Py_NewRef(Py_None) : PyUnicode_DecodeASCII((const char *)key, key_size, NULL);
        PyObject *other = key != NULL
                              ? Py_NewRef(Py_None)
                              : PyBytes_FromStringAndSize((const char *)properties, properties_size);
        PyObject *offset_number = PyLong_FromLongLong(offset), *size_number = PyLong_FromSsize_t(size);
        if (key_text == NULL || other == NULL || offset_number == NULL || size_number == NULL) {
            Py_XDECREF(key_text);
            Py_XDECREF(other);
            Py_XDECREF(offset_number);
            Py_XDECREF(size_number);
            goto failed;
        }
        PyList_SET_ITEM(keys, index, key_text);
        PyList_SET_ITEM(others, index, other);
        PyList_SET_ITEM(offsets, index, offset_number);
        PyList_SET_ITEM(sizes, index, size_number);
        offset += size;
        at = properties + properties_size;
    }
    return Py_BuildValue("NNNNNN", records, units, offsets, sizes, keys, others);
failed:
    Py_XDECREF(records);
    Py_XDECREF(units);
    Py_XDECREF(offsets);
    Py_XDECREF(sizes);
    Py_XDECREF(keys);
    Py_XDECREF(others);
    return NULL;
}

/* -- entries of the key index ----------------------------------------------------------------------------------- */

static uint32_t
java_hash(uint32_t hash, PyObject *text)
{
    const Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    const int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    if (kind == PyUnicode_1BYTE_KIND) {
        const unsigned char *at = data;
        for (Py_ssize_t index = 0; index < length; index++)
            hash = hash * 31 + at[index];
        return hash;
    }
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

static PyObject *topic_hash_name;

PyDoc_STRVAR(add_keys_doc,
             "add_keys(messages: list, slots: memoryview, changed: set, page_bits: int, number: int, limit: int,\n"
             "         begin: int, used: int) -> tuple[bytes, int, int, int]\n\n"
             "Make the index entries of messages, `(hasher, physical offset, store time, keys)` each, and enter them\n"
             "into the slots; the pages of changed slots are added to the set. Stops before the message whose keys\n"
             "would pass `limit`. Gives the entries joined, how many messages were done, the next entry's number and\n"
             "the used slots.");

static PyObject *
add_keys(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 8 || !PyList_CheckExact(args[0]) || !PySet_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "add_keys takes a list, slots, a set and five numbers");
        return NULL;
    }
    long long numbers[5];
    for (int index = 0; index < 5; index++) {
        numbers[index] = PyLong_AsLongLong(args[3 + index]);
        if (numbers[index] == -1 && PyErr_Occurred())
            return NULL;
    }
    long long number = numbers[1], used = numbers[4];
    const long long page_bits = numbers[0], limit = numbers[2], begin = numbers[3];
    Py_buffer view;
    if (PyObject_GetBuffer(args[1], &view, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS) < 0)
        return NULL;
    int32_t *slots = view.buf;
    const uint32_t slot_num = (uint32_t)(view.len / (Py_ssize_t)sizeof *slots);
    PyObject *messages = args[0], *changed = args[2], *result = NULL;
    Py_ssize_t room = 0, size = 0, done = 0;
    unsigned char *entries = NULL;
    PyObject *hasher = NULL;
    uint32_t topic_hash = 0;
    if (slot_num == 0 || page_bits < 0 || page_bits > 31) {
        PyErr_SetString(PyExc_ValueError, "no slots, or no page");
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
            PyObject *hash = PyObject_GetAttr(hasher, topic_hash_name);
            if (hash == NULL)
                goto end;
            topic_hash = (uint32_t)PyLong_AsUnsignedLongMask(hash);
            Py_DECREF(hash);
            if (PyErr_Occurred())
                goto end;
        }
        const long long physical = PyLong_AsLongLong(PyTuple_GET_ITEM(message, 1));
        const long long stored_at = PyLong_AsLongLong(PyTuple_GET_ITEM(message, 2));
        if (PyErr_Occurred())
            goto end;
        long long seconds = stored_at < begin ? 0 : (stored_at - begin) / 1000;
        if (seconds > 0x7FFFFFFF)
            seconds = 0x7FFFFFFF;
        PyObject *keys = PySequence_Fast(PyTuple_GET_ITEM(message, 3), "keys are a sequence");
        if (keys == NULL)
            goto end;
        const Py_ssize_t key_count = PySequence_Fast_GET_SIZE(keys);
        if (number + key_count > limit) {
            Py_DECREF(keys);
            break;
        }
        if (size + key_count * 20 > room) {
            room = (size + key_count * 20) * 2 + 20 * PyList_GET_SIZE(messages);
            unsigned char *larger = PyMem_Realloc(entries, (size_t)room);
            if (larger == NULL) {
                Py_DECREF(keys);
                PyErr_NoMemory();
                goto end;
            }
            entries = larger;
        }
        for (Py_ssize_t index = 0; index < key_count; index++) {
            PyObject *key = PySequence_Fast_GET_ITEM(keys, index);
            if (!PyUnicode_Check(key)) {
                Py_DECREF(keys);
                PyErr_SetString(PyExc_TypeError, "a key is a text");
                goto end;
            }
            uint32_t hash = java_hash(topic_hash, key);
            if (hash >= 0x80000000u)
                hash = (0u - hash) & 0x7FFFFFFFu;
            const uint32_t slot = hash % slot_num;
            const int32_t previous = slots[slot];
            put32(entries + size, hash);
            put64(entries + size + 4, (uint64_t)physical);
            put32(entries + size + 12, (uint32_t)seconds);
            put32(entries + size + 16, (uint32_t)previous);
            size += 20;
            slots[slot] = (int32_t)number;
            number++;
            if (previous == 0)
                used++;
            PyObject *page = PyLong_FromUnsignedLong(slot >> page_bits);
            if (page == NULL || PySet_Add(changed, page) < 0) {
                Py_XDECREF(page);
                Py_DECREF(keys);
                goto end;
            }
            Py_DECREF(page);
        }
        Py_DECREF(keys);
    }
    result = Py_BuildValue("y#nLL", entries == NULL ? "" : (const char *)entries, size, done, number, used);
end:
    PyMem_Free(entries);
    PyBuffer_Release(&view);
    return result;
}

/* -- frames ------------------------------------------------------------------------------------------------------- */

static const char cut_frames_doc[] =
    "cut_frames(data, limit: int, position: int = 0) -> tuple[list[tuple[int, bytes, bytes]], int]\n\n"
    "Cut whole frames from what was read: (serialization, header, body) of each. Stops at the first that is not whole, or\n"
    "is not well-formed or larger than allowed, and gives its place.";

static PyObject *
cut_frames(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 2 && count != 3) {
        PyErr_SetString(PyExc_TypeError, "cut_frames takes a buffer and one or two numbers");
        return NULL;
    }
    const long long limit = PyLong_AsLongLong(args[1]);
    if (limit == -1 && PyErr_Occurred())
        return NULL;
    Py_ssize_t position = count == 3 ? PyLong_AsSsize_t(args[2]) : 0;
    if (position < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a negative place");
        return NULL;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;
    const unsigned char *data = view.buf;
    const Py_ssize_t end = view.len;
    PyObject *frames = PyList_New(0);
    if (frames == NULL)
        goto failed;
    while (end - position >= 8) {
        const long long length = (int32_t)get32(data + position), header = get32(data + position + 4) & 0xFFFFFF;
        if (length < 4 || length > limit || header > length - 4 || length > end - position - 4)
            break;
        const char *at = (const char *)data + position + 8;
        PyObject *frame = PyTuple_New(3);
        PyObject *kind = PyLong_FromLong(data[position + 4]);
        PyObject *head = PyBytes_FromStringAndSize(at, (Py_ssize_t)header);
        PyObject *body = PyBytes_FromStringAndSize(at + header, (Py_ssize_t)(length - 4 - header));
        if (frame == NULL || kind == NULL || head == NULL || body == NULL) {
            Py_XDECREF(frame);
            Py_XDECREF(kind);
            Py_XDECREF(head);
            Py_XDECREF(body);
            goto failed;
        }
        PyTuple_SET_ITEM(frame, 0, kind);
        PyTuple_SET_ITEM(frame, 1, head);
        PyTuple_SET_ITEM(frame, 2, body);
        const int failed = PyList_Append(frames, frame);
        Py_DECREF(frame);
        if (failed < 0)
            goto failed;
        position += 4 + (Py_ssize_t)length;
    }
    PyBuffer_Release(&view);
    return Py_BuildValue("Nn", frames, position);
failed:
    PyBuffer_Release(&view);
    Py_XDECREF(frames);
    return NULL;
}

/* -- memory ------------------------------------------------------------------------------------------------------- */

static const char keep_freed_doc[] =
    "keep_freed(size: int) -> bool\n\n"
    "Let the process keep so many freed bytes at the end of its heap, and take blocks up to half of that from the\n"
    "heap. False where the C library is not glibc, and nothing changes.";

static PyObject *
keep_freed(PyObject *module, PyObject *size)
{
    (void)module;
    const long long bytes = PyLong_AsLongLong(size);
    if (bytes == -1 && PyErr_Occurred())
        return NULL;
    if (bytes < 4096 || bytes > 64 << 20) {
        PyErr_SetString(PyExc_ValueError, "4 KiB to 64 MiB can be kept");
        return NULL;
    }
#ifdef __GLIBC__
    return PyBool_FromLong(mallopt(M_MMAP_THRESHOLD, (int)(bytes / 2)) && mallopt(M_TRIM_THRESHOLD, (int)bytes));
#else
    Py_RETURN_FALSE;
#endif
}

/* ---------------------------------------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"read_ext", read_ext, METH_O, read_ext_doc},
    {"pack_batch", (PyCFunction)(void (*)(void))pack_batch, METH_FASTCALL, pack_batch_doc},
    {"add_keys", (PyCFunction)(void (*)(void))add_keys, METH_FASTCALL, add_keys_doc},
    {"read_sends", (PyCFunction)(void (*)(void))rmq_read_sends, METH_FASTCALL, rmq_read_sends_doc},
    {"read_halves", (PyCFunction)(void (*)(void))rmq_read_halves, METH_FASTCALL, rmq_read_halves_doc},
    {"pack_sends", (PyCFunction)(void (*)(void))rmq_pack_sends, METH_FASTCALL, rmq_pack_sends_doc},
    {"send_answers", (PyCFunction)(void (*)(void))rmq_send_answers, METH_FASTCALL, rmq_send_answers_doc},
    {"cut_frames", (PyCFunction)(void (*)(void))cut_frames, METH_FASTCALL, cut_frames_doc},
    {"append_units", (PyCFunction)(void (*)(void))rmq_append_units, METH_FASTCALL, rmq_append_units_doc},
    {"keep_freed", keep_freed, METH_O, keep_freed_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "rmqwire._speed", "Compiled twins of a few loops; see rmqwire.speed.", -1, functions,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__speed(void)
{
    topic_hash_name = PyUnicode_InternFromString("_topic_hash");
    if (topic_hash_name == NULL || rmq_sends_init() < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && (rmq_crc_init(module) < 0 || rmq_syncs_init(module) < 0))
        Py_CLEAR(module);
    return module;
}
