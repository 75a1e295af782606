/* Frames of a read, and the ext fields of one whose header is binary.
 *
 * `rmqwire.frames` and `rmqwire.header_binary` are the reference.
 */

#include "_speed.h"

/* -- frames ------------------------------------------------------------------------------------------------------- */

const char rmq_cut_frames_doc[] =
    "cut_frames(data, limit: int, position: int = 0) -> tuple[list[tuple[int, bytes, bytes]], int]\n\n"
    "Cut whole frames from what was read: (serialization, header, body) of each. Stops at the first that is not whole, or\n"
    "is not well-formed or larger than allowed, and gives its place.";

PyObject *
rmq_cut_frames(PyObject *module, PyObject *const *args, Py_ssize_t count)
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

/* -- ext fields of a binary header ------------------------------------------------------------------------------ */

const char rmq_read_ext_doc[] =
    "read_ext(data: bytes) -> dict[str, str] | None\n\n"
    "Entries `key length i16, key | value length i32, value`, those without a value left out. None for lengths that\n"
    "leave the data, and for bytes that are not UTF-8.";

PyObject *
rmq_read_ext(PyObject *module, PyObject *data)
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
