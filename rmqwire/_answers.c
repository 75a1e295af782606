/* Answers to runs of sends and of batches, written from templates: whole frames with a JSON header, joined.
 *
 * `SendReplies` is the reference.
 */

#include "_records.h"
#include "_requests.h"

enum { SEND_PIECES = 7, BATCH_PIECES = 6 };
enum { FRAME_HEAD = 8, HEX = 16, NUMBER_MAX = 20, NUMBERS = 4 };

/* What is equal in all answers: pieces of the header, with values between them, and the first of these, the code. */
typedef struct {
    PyObject *pieces[SEND_PIECES];
    long long code;
    Py_ssize_t room; /* of an answer without its ids and keys */
} Template;

static int
take_template(Template *template, PyObject *pieces, int count, PyObject *code)
{
    if (!PyTuple_CheckExact(pieces) || PyTuple_GET_SIZE(pieces) != count) {
        PyErr_Format(PyExc_TypeError, "a header has %d pieces", count);
        return -1;
    }
    template->room = FRAME_HEAD + NUMBERS * NUMBER_MAX;
    for (int index = 0; index < count; index++) {
        PyObject *piece = template->pieces[index] = PyTuple_GET_ITEM(pieces, index);
        if (!PyBytes_CheckExact(piece)) {
            PyErr_SetString(PyExc_TypeError, "a piece is bytes");
            return -1;
        }
        template->room += PyBytes_GET_SIZE(piece);
    }
    template->code = PyLong_AsLongLong(code);
    return template->code == -1 && PyErr_Occurred() ? -1 : 0;
}

/* -- words -------------------------------------------------------------------------------------------------------- */

static char *
put_bytes(char *to, PyObject *bytes)
{
    memcpy(to, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    return to + PyBytes_GET_SIZE(bytes);
}

static char *
put_number(char *to, long long value)
{
    char digits[NUMBER_MAX];
    int count = 0;
    unsigned long long rest = value < 0 ? 0ull - (unsigned long long)value : (unsigned long long)value;
    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0)
        *to++ = '-';
    while (count)
        *to++ = digits[--count];
    return to;
}

/* A physical offset, as ids of messages end with it. */
static char *
put_hex(char *to, uint64_t physical)
{
    for (int shift = 60; shift >= 0; shift -= 4)
        *to++ = "0123456789ABCDEF"[physical >> shift & 15];
    return to;
}

/* -- frames ------------------------------------------------------------------------------------------------------- */

/* Up to where the ids stand. */
static char *
begin_frame(char *frame, const Template *template)
{
    return put_bytes(put_number(put_bytes(frame + FRAME_HEAD, template->pieces[0]), template->code), template->pieces[1]);
}

/* From behind the ids: the queue, the offset in it, and the piece behind. */
static char *
put_queue(char *to, const Template *template, PyObject *queue_id, uint64_t queue_offset)
{
    to = put_number(put_bytes(to, template->pieces[2]), PyLong_AsLongLong(queue_id));
    return put_bytes(put_number(put_bytes(to, template->pieces[3]), (long long)queue_offset), template->pieces[4]);
}

static char *
end_frame(char *frame, char *to, PyObject *opaque, PyObject *last_piece)
{
    to = put_bytes(put_number(to, PyLong_AsLongLong(opaque)), last_piece);
    put32((unsigned char *)frame, (uint32_t)(to - frame - 4));
    put32((unsigned char *)frame + 4, (uint32_t)(to - frame - FRAME_HEAD)); /* the serialization byte of JSON is 0 */
    return to;
}

/* Frames as bytes; frees where they were written. NULL with an error, also one from before. */
static PyObject *
given(char *begin, const char *end)
{
    PyObject *frames = PyErr_Occurred() ? NULL : PyBytes_FromStringAndSize(begin, end - begin);
    PyMem_Free(begin);
    return frames;
}

/* -- sends -------------------------------------------------------------------------------------------------------- */

static int
is_answered(PyObject *put)
{
    const long long kind = number_at(put, S_KIND);
    return kind == KIND_SEND || kind == KIND_HALF;
}

static PyObject *
unique_key_of(PyObject *put)
{
    return PyTuple_GET_ITEM(PyTuple_GET_ITEM(put, S_KEYS), 0);
}

const char rmq_send_answers_doc[] =
    "send_answers(pieces: tuple[bytes, ...], code: int, puts: list, first: int, places: bytes) -> bytes\n\n"
    "Write the answers to sends and half messages from `first` on, as many as there are places, as whole frames; ends of\n"
    "transactions between them are passed over. Between the seven pieces of a JSON header stand: code, physical offset\n"
    "in 16 hex digits, queue id, queue offset, unique key, opaque.";

PyObject *
rmq_send_answers(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 5 || !PyList_CheckExact(args[2]) || !PyBytes_CheckExact(args[4])) {
        PyErr_SetString(PyExc_TypeError, "send_answers takes seven pieces, a code, sends, a number and places");
        return NULL;
    }
    Template template;
    const Py_ssize_t first = rmq_place(args[3]), answers = PyBytes_GET_SIZE(args[4]) / SEND_PLACE;
    if (first < 0 || take_template(&template, args[0], SEND_PIECES, args[1]) < 0)
        return NULL;
    Py_ssize_t room = 0, found = 0;
    for (Py_ssize_t index = first; found < answers; index++) {
        PyObject *put = index < PyList_GET_SIZE(args[2]) ? PyList_GET_ITEM(args[2], index) : NULL;
        if (put == NULL || !rmq_is_put(put)) {
            PyErr_SetString(PyExc_TypeError, put == NULL ? "more places than sends" : "a put is what read_sends gives");
            return NULL;
        }
        if (!is_answered(put))
            continue;
        found++;
        room += template.room + HEX + PyUnicode_GET_LENGTH(unique_key_of(put));
    }
    char *begin = PyMem_Malloc(room ? (size_t)room : 1), *to = begin;
    if (begin == NULL)
        return PyErr_NoMemory();
    const unsigned char *place = (const unsigned char *)PyBytes_AS_STRING(args[4]);
    for (Py_ssize_t index = first; found > 0; index++) {
        PyObject *put = PyList_GET_ITEM(args[2], index);
        if (!is_answered(put))
            continue;
        found--;
        PyObject *key = unique_key_of(put);
        char *frame = to;
        to = put_hex(begin_frame(frame, &template), get64(place));
        to = put_queue(to, &template, PyTuple_GET_ITEM(put, S_QUEUE), get64(place + 8));
        memcpy(to, PyUnicode_1BYTE_DATA(key), (size_t)PyUnicode_GET_LENGTH(key));
        to = put_bytes(to + PyUnicode_GET_LENGTH(key), template.pieces[5]);
        to = end_frame(frame, to, PyTuple_GET_ITEM(put, S_OPAQUE), template.pieces[6]);
        place += SEND_PLACE;
    }
    return given(begin, to);
}

/* -- batches ------------------------------------------------------------------------------------------------------ */

const char rmq_batch_answers_doc[] =
    "batch_answers(pieces: tuple[bytes, ...], host: bytes, code: int, batches: list, first: int, count: int,\n"
    "              places: bytes) -> bytes\n\n"
    "Write the answers to `count` batches from `first` on, as whole frames; places are what `pack_batches` gives. Between\n"
    "the six pieces of a JSON header stand: code, ids of the messages with commas between, queue id, queue offset,\n"
    "opaque. An id is the host in hex and the physical offset in 16 hex digits.";

PyObject *
rmq_batch_answers(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 7 || !PyBytes_CheckExact(args[1]) || !PyList_CheckExact(args[3]) || !PyBytes_CheckExact(args[6])) {
        PyErr_SetString(PyExc_TypeError, "batch_answers takes six pieces, a host, a code, batches, two numbers and places");
        return NULL;
    }
    Template template;
    PyObject *batches = args[3], *host = args[1];
    const Py_ssize_t first = rmq_place(args[4]), answers = first < 0 ? -1 : rmq_place(args[5]);
    if (answers < 0 || take_template(&template, args[0], BATCH_PIECES, args[2]) < 0)
        return NULL;
    if (answers > PyList_GET_SIZE(batches) - first) {
        PyErr_SetString(PyExc_ValueError, "more answers than batches");
        return NULL;
    }
    const unsigned char *place = (const unsigned char *)PyBytes_AS_STRING(args[6]), *end = place + PyBytes_GET_SIZE(args[6]);
    Py_ssize_t room = 0;
    for (Py_ssize_t index = 0; index < answers; index++) {
        if (!rmq_is_batch(PyList_GET_ITEM(batches, first + index))) {
            PyErr_SetString(PyExc_TypeError, "a batch is what read_batches gives");
            return NULL;
        }
        if (end - place < BATCH_HEAD || get64(place) > (uint64_t)(end - place - BATCH_HEAD) / BATCH_PLACE) {
            PyErr_SetString(PyExc_ValueError, "fewer places than answers");
            return NULL;
        }
        const Py_ssize_t messages = (Py_ssize_t)get64(place);
        place += BATCH_HEAD + messages * BATCH_PLACE;
        room += template.room + messages * (PyBytes_GET_SIZE(host) + HEX + 1);
    }
    char *begin = PyMem_Malloc(room ? (size_t)room : 1), *to = begin;
    if (begin == NULL)
        return PyErr_NoMemory();
    place = (const unsigned char *)PyBytes_AS_STRING(args[6]);
    for (Py_ssize_t index = 0; index < answers; index++) {
        PyObject *batch = PyList_GET_ITEM(batches, first + index);
        const uint64_t messages = get64(place), queue_offset = get64(place + 8);
        place += BATCH_HEAD;
        char *frame = to;
        to = begin_frame(frame, &template);
        for (uint64_t message = 0; message < messages; message++, place += BATCH_PLACE) {
            if (message > 0)
                *to++ = ',';
            to = put_hex(put_bytes(to, host), get64(place));
        }
        to = put_queue(to, &template, PyTuple_GET_ITEM(batch, B_QUEUE), queue_offset);
        to = end_frame(frame, to, PyTuple_GET_ITEM(batch, B_OPAQUE), template.pieces[5]);
    }
    return given(begin, to);
}
