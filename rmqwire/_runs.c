/* Runs: requests of one kind to one topic that stand in a row, each read from its frame into a tuple.
 *
 * What it must not do: know what one asks for; `_readsends.c` and `_readbatches.c` do.
 */

#include "_requests.h"

Py_ssize_t
rmq_place(PyObject *number)
{
    const Py_ssize_t place = PyLong_AsSsize_t(number);
    if (place < 0 && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a negative place");
    return place < 0 ? -1 : place;
}

int
rmq_numbers(PyObject *const *args, int count, long long *numbers)
{
    for (int index = 0; index < count; index++) {
        numbers[index] = PyLong_AsLongLong(args[index]);
        if (numbers[index] == -1 && PyErr_Occurred())
            return -1;
    }
    return 0;
}

/* Take a frame apart as `cut_frames` put it together; 0, maybe with an error, when it is none. */
static int
take_frame(PyObject *tuple, Frame *frame)
{
    if (!PyTuple_CheckExact(tuple) || PyTuple_GET_SIZE(tuple) != 3)
        return 0;
    PyObject *header = PyTuple_GET_ITEM(tuple, 1), *body = PyTuple_GET_ITEM(tuple, 2);
    if (!PyBytes_CheckExact(header) || !PyBytes_CheckExact(body))
        return 0;
    frame->serialization = PyLong_AsLong(PyTuple_GET_ITEM(tuple, 0));
    frame->header = bytes_of(header);
    frame->body = body;
    return 1;
}

PyObject *
rmq_read_run(PyObject *const *args, Py_ssize_t count, ReadOne read_one)
{
    if (count != 2 || !PyList_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "a run is read from a list and a number");
        return NULL;
    }
    PyObject *frames = args[0], *run = NULL, *topic = NULL;
    const Py_ssize_t first = rmq_place(args[1]);
    if (first < 0 || (run = PyList_New(0)) == NULL)
        return NULL;
    for (Py_ssize_t index = first; index < PyList_GET_SIZE(frames); index++) {
        Frame frame;
        PyObject *request = take_frame(PyList_GET_ITEM(frames, index), &frame) ? read_one(&frame, &topic) : NULL;
        if (request == NULL)
            break;
        const int failed = PyList_Append(run, request);
        Py_DECREF(request); /* the list keeps it, and with it the topic */
        if (failed < 0)
            break;
    }
    if (PyErr_Occurred())
        Py_CLEAR(run);
    return run;
}

/* -- tuples ------------------------------------------------------------------------------------------------------- */

int
rmq_is_put(PyObject *put)
{
    if (!PyTuple_CheckExact(put) || PyTuple_GET_SIZE(put) != S_COUNT)
        return 0;
    PyObject *topic = PyTuple_GET_ITEM(put, S_TOPIC), *keys = PyTuple_GET_ITEM(put, S_KEYS);
    if (!PyTuple_CheckExact(keys) || PyTuple_GET_SIZE(keys) < 1)
        return 0;
    PyObject *key = PyTuple_GET_ITEM(keys, 0);
    return PyBytes_CheckExact(PyTuple_GET_ITEM(put, S_BODY)) && PyBytes_CheckExact(PyTuple_GET_ITEM(put, S_PROPERTIES)) &&
           PyUnicode_Check(topic) && PyUnicode_IS_COMPACT_ASCII(topic) && PyUnicode_Check(key) &&
           PyUnicode_IS_COMPACT_ASCII(key);
}

int
rmq_is_batch(PyObject *batch)
{
    return PyTuple_CheckExact(batch) && PyTuple_GET_SIZE(batch) == B_COUNT &&
           PyBytes_CheckExact(PyTuple_GET_ITEM(batch, B_BODY));
}
