/* Queues: units are staged in them, and made visible.
 *
 * `GroupWriter.stage` and `rmqd.store.consumequeue.append_units` are the reference.
 */

#include "_records.h"
#include <structmember.h>

/* -- their attributes --------------------------------------------------------------------------------------------- */

/* Queues are objects of one class with slots; where these lie in the object is asked of the class once. */
static const char *const slot_names[SLOT_COUNT] = {"hasher", "staged", "staged_next", "memory", "max_offset"};
static PyTypeObject *queue_type;
static Py_ssize_t slot_offsets[SLOT_COUNT];
static PyObject *name_topic;

int
rmq_queues_init(void)
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

/* -- their units -------------------------------------------------------------------------------------------------- */

enum { SMALL_BUFFER = 128 };

/* Make an array longer; the place of what comes, or NULL with an error. It doubles, as units come one by one. */
static unsigned char *
grow(PyObject *array, Py_ssize_t added)
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

unsigned char *
rmq_stage_units(PyObject *queue, PyObject *touched, Py_ssize_t count, long long *first)
{
    PyObject **staged = rmq_slot_of(queue, STAGED), **next = staged == NULL ? NULL : rmq_slot_of(queue, STAGED_NEXT);
    if (next == NULL)
        return NULL;
    if (!PyByteArray_CheckExact(*staged)) {
        PyErr_SetString(PyExc_TypeError, "a queue has staged units in a bytearray");
        return NULL;
    }
    *first = PyLong_AsLongLong(*next);
    PyObject *after = PyErr_Occurred() ? NULL : PyLong_FromLongLong(*first + count);
    if (after == NULL)
        return NULL;
    unsigned char *units = NULL;
    if (PyByteArray_GET_SIZE(*staged) > 0 || PyList_Append(touched, queue) == 0)
        units = grow(*staged, count * UNIT);
    if (units != NULL)
        set_slot(next, after);
    Py_DECREF(after);
    return units;
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
    unsigned char *to = grow(tail, added);
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
    if (empty(*staged) < 0 || (length == added && PyDict_SetDefault(dirty, queue, Py_None) == NULL))
        return -1; /* with a tail it is in there already */
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
