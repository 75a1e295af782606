/* Sends as the official producers write them, a read of them in one call: header, record, answer.
 *
 * The general path in Python (`SendHandlers`, `GroupWriter.stage`, `SendReplies`) is the reference and serves everything
 * that is not plainly usual: whatever these functions do not know they leave alone, and the tests hold both ways equal.
 */

#include "_speed.h"
#include <structmember.h>

typedef struct {
    const unsigned char *at;
    Py_ssize_t size; /* -1: absent */
} Slice;

enum { LETTERS = 14 };
enum { GROUP, TOPIC, DEFAULT_TOPIC, DEFAULT_QUEUES, QUEUE_ID, SYS_FLAG, BORN, FLAG, PROPERTIES, RECONSUMED, UNIT_MODE,
       MAX_RECONSUMES, BATCH, BROKER };
enum { SEND_MESSAGE_V2 = 310 };
enum { COMPRESSION_BITS = 0x701 };
enum { PROPERTIES_MAX = 32767 };
enum { OWN_MAX = 16 };

typedef struct {
    long long code, flag, opaque;
    Slice fields[LETTERS];
    int properties_escaped;
} Send;

/* -- small parts -------------------------------------------------------------------------------------------------- */

/* A whole number without sign or leading zeros, as Java writes it; -1 when it is none, or too large. */
static long long
number_of(Slice text, long long largest)
{
    if (text.size < 1 || text.size > 19 || (text.at[0] == '0' && text.size > 1))
        return -1;
    unsigned long long value = 0;
    for (Py_ssize_t index = 0; index < text.size; index++) {
        if (text.at[index] < '0' || text.at[index] > '9')
            return -1;
        value = value * 10 + (unsigned long long)(text.at[index] - '0');
    }
    return value > (unsigned long long)largest ? -1 : (long long)value;
}

static int
equals(Slice text, const char *word)
{
    return text.size == (Py_ssize_t)strlen(word) && memcmp(text.at, word, (size_t)text.size) == 0;
}

static int
is_plain(Slice text)
{
    for (Py_ssize_t index = 0; index < text.size; index++)
        if (text.at[index] < 0x20 || text.at[index] >= 0x7F)
            return 0;
    return 1;
}

static int
set_field(Send *send, Slice key, Slice value)
{
    if (key.size != 1 || key.at[0] < 'a' || key.at[0] >= 'a' + LETTERS || value.size == 0)
        return 0;
    Slice *field = &send->fields[key.at[0] - 'a'];
    if (field->size >= 0)
        return 0;
    *field = value;
    return 1;
}

/* -- JSON header -------------------------------------------------------------------------------------------------- */

typedef struct {
    const unsigned char *at, *end;
} Text;

static int
take(Text *text, unsigned char one)
{
    if (text->at >= text->end || *text->at != one)
        return 0;
    text->at++;
    return 1;
}

static int
take_string(Text *text, Slice *out, int *escaped)
{
    if (!take(text, '"'))
        return 0;
    out->at = text->at;
    *escaped = 0;
    for (; text->at < text->end; text->at++) {
        const unsigned char one = *text->at;
        if (one == '"') {
            out->size = text->at - out->at;
            text->at++;
            return 1;
        }
        if (one < 0x20 || one >= 0x7F)
            return 0;
        if (one == '\\') {
            *escaped = 1;
            text->at++;
        }
    }
    return 0;
}

static int
take_integer(Text *text, long long *out)
{
    const int negative = take(text, '-');
    Slice digits = {text->at, 0};
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9')
        text->at++;
    digits.size = text->at - digits.at;
    const long long value = number_of(digits, 0x7FFFFFFF);
    if (value < 0 || (negative && value == 0))
        return 0;
    *out = negative ? -value : value;
    return 1;
}

static int
take_ext(Text *text, Send *send)
{
    if (!take(text, '{'))
        return 0;
    do {
        Slice key, value;
        int escaped;
        if (!take_string(text, &key, &escaped) || escaped || !take(text, ':') || !take_string(text, &value, &escaped))
            return 0;
        if (!set_field(send, key, value))
            return 0;
        if (key.at[0] == 'a' + PROPERTIES)
            send->properties_escaped = escaped;
        else if (escaped)
            return 0;
    } while (take(text, ','));
    return take(text, '}');
}

static int
read_json(const unsigned char *data, Py_ssize_t size, Send *send)
{
    Text text = {data, data + size};
    unsigned seen = 0;
    if (!take(&text, '{'))
        return 0;
    do {
        Slice key, ignored;
        int escaped;
        long long number;
        unsigned bit;
        if (!take_string(&text, &key, &escaped) || escaped || !take(&text, ':'))
            return 0;
        if (equals(key, "code")) {
            bit = 1;
            if (!take_integer(&text, &send->code) || send->code != SEND_MESSAGE_V2)
                return 0;
        }
        else if (equals(key, "extFields")) {
            bit = 2;
            if (!take_ext(&text, send))
                return 0;
        }
        else if (equals(key, "flag")) {
            bit = 4;
            if (!take_integer(&text, &send->flag))
                return 0;
        }
        else if (equals(key, "opaque")) {
            bit = 8;
            if (!take_integer(&text, &send->opaque))
                return 0;
        }
        else if (equals(key, "version")) {
            bit = 16;
            if (!take_integer(&text, &number))
                return 0;
        }
        else if (equals(key, "language") || equals(key, "serializeTypeCurrentRPC")) {
            bit = key.at[0] == 'l' ? 32 : 64;
            if (!take_string(&text, &ignored, &escaped) || escaped)
                return 0;
        }
        else if (equals(key, "remark")) {
            bit = 128;
            if (!take(&text, '"') || !take(&text, '"'))
                return 0;
        }
        else
            return 0;
        if (seen & bit)
            return 0;
        seen |= bit;
    } while (take(&text, ','));
    return (seen & 15) == 15 && take(&text, '}') && text.at == text.end;
}

/* -- binary header ------------------------------------------------------------------------------------------------ */

static int
read_binary(const unsigned char *at, Py_ssize_t size, Send *send)
{
    /* code i16 | language i8 | version i16 | opaque i32 | flag i32 | remark length i32 | ext length i32 | ext */
    if (size < 21 || (at[0] << 8 | at[1]) != SEND_MESSAGE_V2)
        return 0;
    send->code = SEND_MESSAGE_V2;
    send->opaque = (int32_t)get32(at + 5);
    send->flag = (int32_t)get32(at + 9);
    if (get32(at + 13) != 0 || (long long)get32(at + 17) != size - 21)
        return 0;
    const unsigned char *end = at + size;
    for (at += 21; at < end;) {
        if (end - at < 7 || at[0] != 0 || at[1] != 1)
            return 0;
        const Slice key = {at + 2, 1};
        const long long value_size = (int32_t)get32(at + 3);
        const Slice value = {at + 7, (Py_ssize_t)value_size};
        if (value_size < 0 || end - value.at < value_size || !set_field(send, key, value))
            return 0;
        if (key.at[0] != 'a' + PROPERTIES && !is_plain(value))
            return 0;
        at = value.at + value_size;
    }
    return 1;
}

/* -- properties --------------------------------------------------------------------------------------------------- */

/* Write out `\u0001` and `\u0002`; the size, or -1 for any other escape. */
static Py_ssize_t
unescape(Slice text, unsigned char *out)
{
    unsigned char *to = out;
    for (const unsigned char *at = text.at, *end = at + text.size; at < end;) {
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        if (end - at < 6 || memcmp(at, "\\u000", 5) != 0 || (at[5] != '1' && at[5] != '2'))
            return -1;
        *to++ = (unsigned char)(at[5] - '0');
        at += 6;
    }
    return to - out;
}

typedef struct {
    Slice unique, keys, tags;
} Known;

/* Whether a property is the application's own: the names that mean something to brokers have no small letter, or begin
 * with two underscores (`MessageConst`). */
static int
is_users_own(Slice name)
{
    int small = 0;
    for (Py_ssize_t index = 0; index < name.size; index++)
        small |= name.at[index] >= 'a' && name.at[index] <= 'z';
    return small && is_plain(name) && !(name.size >= 2 && name.at[0] == '_' && name.at[1] == '_');
}

/* Whether properties are a unique key, and maybe keys, tags, WAIT=true and some of the application's own, each once; any
 * other name may mean that the broker has to act. */
static int
read_properties(const unsigned char *at, Py_ssize_t size, Known *known)
{
    const unsigned char *end = at + size;
    int waits = 0, own = 0;
    Slice names[OWN_MAX];
    known->unique.size = known->keys.size = known->tags.size = -1;
    while (at < end) {
        const unsigned char *stop = memchr(at, 2, (size_t)(end - at));
        if (stop == NULL)
            stop = end;
        const unsigned char *middle = memchr(at, 1, (size_t)(stop - at));
        if (middle == NULL)
            return 0;
        const Slice name = {at, middle - at}, value = {middle + 1, stop - middle - 1};
        if (value.size == 0 || !is_plain(value))
            return 0;
        Slice *place = NULL;
        if (equals(name, "UNIQ_KEY"))
            place = &known->unique;
        else if (equals(name, "KEYS"))
            place = &known->keys;
        else if (equals(name, "TAGS"))
            place = &known->tags;
        else if (equals(name, "WAIT")) {
            if (waits++ || !equals(value, "true"))
                return 0;
        }
        else {
            if (own == OWN_MAX || !is_users_own(name))
                return 0;
            for (int before = 0; before < own; before++)
                if (names[before].size == name.size && memcmp(names[before].at, name.at, (size_t)name.size) == 0)
                    return 0;
            names[own++] = name;
        }
        if (place != NULL) {
            if (place->size >= 0)
                return 0;
            *place = value;
        }
        at = stop + 1;
    }
    if (known->unique.size < 0)
        return 0;
    for (Py_ssize_t index = 0; index < known->unique.size; index++)
        if (!Py_ISALNUM(known->unique.at[index]))
            return 0;
    if (known->keys.size < 0)
        return 1;
    for (Py_ssize_t index = 0; index < known->keys.size; index++)
        if (known->keys.at[index] == ' ' && (index == 0 || index == known->keys.size - 1 || known->keys.at[index + 1] == ' '))
            return 0;
    return 1;
}

static int32_t
tags_code(Slice tags)
{
    uint32_t hash = 0;
    for (Py_ssize_t index = 0; index < tags.size; index++)
        hash = hash * 31 + tags.at[index];
    return (int32_t)hash;
}

/* "T#tags" */
static PyObject *
tags_key(Slice tags)
{
    PyObject *key = PyUnicode_New(tags.size + 2, 127);
    if (key != NULL) {
        char *at = PyUnicode_DATA(key);
        memcpy(at, "T#", 2);
        memcpy(at + 2, tags.at, (size_t)tags.size);
    }
    return key;
}

/* (unique key, key, ...), behind them the tags */
static PyObject *
keys_of(const Known *known)
{
    Py_ssize_t count = 1;
    const int tagged = known->tags.size > 0;
    if (known->keys.size > 0) {
        count++;
        for (Py_ssize_t index = 0; index < known->keys.size; index++)
            count += known->keys.at[index] == ' ';
    }
    PyObject *keys = PyTuple_New(count + tagged);
    if (keys == NULL)
        return NULL;
    if (tagged) {
        PyObject *key = tags_key(known->tags);
        if (key == NULL) {
            Py_DECREF(keys);
            return NULL;
        }
        PyTuple_SET_ITEM(keys, count, key);
    }
    Slice one = known->unique;
    const unsigned char *next = known->keys.at;
    for (Py_ssize_t index = 0; index < count; index++) {
        PyObject *key = PyUnicode_DecodeASCII((const char *)one.at, one.size, NULL);
        if (key == NULL) {
            Py_DECREF(keys);
            return NULL;
        }
        PyTuple_SET_ITEM(keys, index, key);
        if (index + 1 < count) {
            const unsigned char *end = known->keys.at + known->keys.size;
            const unsigned char *stop = memchr(next, ' ', (size_t)(end - next));
            one.at = next;
            one.size = (stop == NULL ? end : stop) - next;
            next = stop == NULL ? end : stop + 1;
        }
    }
    return keys;
}

/* -- reading a run of sends --------------------------------------------------------------------------------------- */

enum { S_OPAQUE, S_TOPIC, S_QUEUE, S_SYS_FLAG, S_BORN, S_FLAG, S_BODY, S_PROPERTIES, S_TAGS_CODE, S_KEYS, S_COUNT };

/* The send as a tuple; NULL without an error when it is not usual. */
static PyObject *
one_send(PyObject *frame, PyObject *topic)
{
    if (!PyTuple_CheckExact(frame) || PyTuple_GET_SIZE(frame) != 3)
        return NULL;
    PyObject *header = PyTuple_GET_ITEM(frame, 1), *body = PyTuple_GET_ITEM(frame, 2);
    if (!PyBytes_CheckExact(header) || !PyBytes_CheckExact(body) || PyBytes_GET_SIZE(body) == 0)
        return NULL;
    const long serialization = PyLong_AsLong(PyTuple_GET_ITEM(frame, 0));
    const unsigned char *data = (const unsigned char *)PyBytes_AS_STRING(header);
    const Py_ssize_t size = PyBytes_GET_SIZE(header);
    Send send;
    send.properties_escaped = 0;
    for (int index = 0; index < LETTERS; index++)
        send.fields[index].size = -1;
    if (!(serialization == 0 ? read_json(data, size, &send) : serialization == 1 && read_binary(data, size, &send)))
        return NULL;
    const Slice *fields = send.fields;
    if (send.flag != 0 || fields[GROUP].size < 0 || fields[TOPIC].size < 0 || fields[DEFAULT_TOPIC].size < 0)
        return NULL;
    const long long queue_id = number_of(fields[QUEUE_ID], 0x7FFFFFFF), sys_flag = number_of(fields[SYS_FLAG], 0xFFFF);
    const long long born = number_of(fields[BORN], 0x7FFFFFFFFFFFFFFF), flag = number_of(fields[FLAG], 0x7FFFFFFF);
    if (queue_id < 0 || sys_flag < 0 || (sys_flag & ~COMPRESSION_BITS) || born < 0 || flag < 0 ||
        number_of(fields[DEFAULT_QUEUES], 0x7FFFFFFF) < 0)
        return NULL;
    if ((fields[RECONSUMED].size >= 0 && !equals(fields[RECONSUMED], "0")) ||
        (fields[UNIT_MODE].size >= 0 && !equals(fields[UNIT_MODE], "false") && !equals(fields[UNIT_MODE], "true")) ||
        (fields[MAX_RECONSUMES].size >= 0 && number_of(fields[MAX_RECONSUMES], 0x7FFFFFFF) < 0) ||
        (fields[BATCH].size >= 0 && !equals(fields[BATCH], "false")))
        return NULL;
    if (fields[PROPERTIES].size < 0 || fields[PROPERTIES].size > PROPERTIES_MAX)
        return NULL;
    if (topic != NULL && (PyUnicode_GET_LENGTH(topic) != fields[TOPIC].size ||
                          memcmp(PyUnicode_1BYTE_DATA(topic), fields[TOPIC].at, (size_t)fields[TOPIC].size) != 0))
        return NULL;

    unsigned char stored[PROPERTIES_MAX + 1];
    Py_ssize_t stored_size = fields[PROPERTIES].size;
    if (send.properties_escaped)
        stored_size = unescape(fields[PROPERTIES], stored);
    else
        memcpy(stored, fields[PROPERTIES].at, (size_t)stored_size);
    Known known;
    if (stored_size <= 0 || !read_properties(stored, stored_size, &known))
        return NULL;
    if (stored[stored_size - 1] != 2)
        stored[stored_size++] = 2;

    PyObject *tuple = PyTuple_New(S_COUNT);
    if (tuple == NULL)
        return NULL;
    PyTuple_SET_ITEM(tuple, S_OPAQUE, PyLong_FromLongLong(send.opaque));
    PyTuple_SET_ITEM(tuple, S_TOPIC, topic != NULL ? Py_NewRef(topic)
                                                   : PyUnicode_DecodeASCII((const char *)fields[TOPIC].at,
                                                                           fields[TOPIC].size, NULL));
    PyTuple_SET_ITEM(tuple, S_QUEUE, PyLong_FromLongLong(queue_id));
    PyTuple_SET_ITEM(tuple, S_SYS_FLAG, PyLong_FromLongLong(sys_flag));
    PyTuple_SET_ITEM(tuple, S_BORN, PyLong_FromLongLong(born));
    PyTuple_SET_ITEM(tuple, S_FLAG, PyLong_FromLongLong(flag));
    PyTuple_SET_ITEM(tuple, S_BODY, Py_NewRef(body));
    PyTuple_SET_ITEM(tuple, S_PROPERTIES, PyBytes_FromStringAndSize((const char *)stored, stored_size));
    PyTuple_SET_ITEM(tuple, S_TAGS_CODE, PyLong_FromLong(known.tags.size < 0 ? 0 : tags_code(known.tags)));
    PyTuple_SET_ITEM(tuple, S_KEYS, keys_of(&known));
    for (Py_ssize_t index = 0; index < S_COUNT; index++)
        if (PyTuple_GET_ITEM(tuple, index) == NULL) {
            Py_DECREF(tuple);
            return NULL;
        }
    return tuple;
}

const char rmq_read_sends_doc[] =
    "read_sends(frames: list, first: int) -> list[tuple]\n\n"
    "Read the usual sends to one topic from frame `first` on, up to the first frame that is something else: `(opaque,\n"
    "topic, queue id, sys flag, born timestamp, flag, body, properties with their last end, tags code, (unique key,\n"
    "key, ...))`. Usual: SEND_MESSAGE_V2, two-way, all its required fields in their plain form, no batch, not consumed\n"
    "before, no properties but UNIQ_KEY, KEYS, TAGS, WAIT=true and the application's own.";

PyObject *
rmq_read_sends(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 2 || !PyList_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "read_sends takes a list and a number");
        return NULL;
    }
    const Py_ssize_t first = PyLong_AsSsize_t(args[1]);
    if (first < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a negative place");
        return NULL;
    }
    PyObject *sends = PyList_New(0), *topic = NULL;
    if (sends == NULL)
        return NULL;
    for (Py_ssize_t index = first; index < PyList_GET_SIZE(args[0]); index++) {
        PyObject *send = one_send(PyList_GET_ITEM(args[0], index), topic);
        if (send == NULL)
            break;
        if (topic == NULL)
            topic = PyTuple_GET_ITEM(send, S_TOPIC); /* the list keeps it */
        const int failed = PyList_Append(sends, send);
        Py_DECREF(send);
        if (failed < 0)
            break;
    }
    if (PyErr_Occurred()) {
        Py_DECREF(sends);
        return NULL;
    }
    return sends;
}

/* -- making their records ----------------------------------------------------------------------------------------- */

enum { UNIT = 20, PLACE = 16, TEMPLATE_MIN = 88 };
enum { AT_SIZE = 0, AT_CRC = 8, AT_QUEUE_ID = 12, AT_FLAG = 16, AT_QUEUE_OFFSET = 20, AT_POSITION = 28, AT_SYS_FLAG = 36,
       AT_BORN = 40 };

/* The attributes of a queue that are looked at for each message. Queues are objects of one class with slots; where these
 * lie in the object is asked of the class once. */
enum { HASHER, STAGED, STAGED_NEXT, MEMORY, MAX_OFFSET, SLOT_COUNT };
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

/* Where a queue has an attribute; NULL with an error when it has none. The queue keeps what is there. */
static PyObject **
slot_of(PyObject *queue, int which)
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

static void
set_slot(PyObject **slot, PyObject *value)
{
    PyObject *before = *slot;
    *slot = Py_NewRef(value);
    Py_DECREF(before);
}

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

static long long
number_at(PyObject *tuple, Py_ssize_t index)
{
    return PyLong_AsLongLong(PyTuple_GET_ITEM(tuple, index));
}

/* Give the queue one more unit; its offset, or -1 with an error. */
static long long
add_unit(PyObject *queue, PyObject *touched, long long position, Py_ssize_t size, PyObject *tags)
{
    PyObject **staged = slot_of(queue, STAGED), **next = staged == NULL ? NULL : slot_of(queue, STAGED_NEXT);
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
        unit = grow(*staged, UNIT);
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
    PyObject **hasher = slot_of(queue, HASHER), *offset = PyLong_FromLongLong(position);
    PyObject *entry = hasher == NULL || offset == NULL ? NULL : PyTuple_Pack(4, *hasher, offset, timestamp, keys);
    const int failed = entry == NULL || PyList_Append(keyed, entry) < 0;
    Py_XDECREF(offset);
    Py_XDECREF(entry);
    return failed ? -1 : 0;
}

const char rmq_pack_sends_doc[] =
    "pack_sends(sends: list, first: int, queues: list, touched: list, keyed: list, template: bytes, topic_field: bytes,\n"
    "           suffix: bytes, timestamp: int, position: int, body_max: int, record_max: int, properties_max: int,\n"
    "           total_max: int) -> tuple[bytes, bytes]\n\n"
    "Make the records of sends that `read_sends` gave, from `first` on, and stage their units in `queues` (by queue id;\n"
    "None for one that is not open). Stops before the first one that breaks a limit, has no queue there or no room. The\n"
    "template is a record up to its body length, with all that is equal in the run. Gives the records joined, and of\n"
    "each the place: physical offset i64, queue offset i64.";

PyObject *
rmq_pack_sends(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 14 || !PyList_CheckExact(args[0]) || !PyList_CheckExact(args[2]) || !PyList_CheckExact(args[3]) ||
        !PyList_CheckExact(args[4]) || !PyBytes_CheckExact(args[5]) || !PyBytes_CheckExact(args[6]) ||
        !PyBytes_CheckExact(args[7])) {
        PyErr_SetString(PyExc_TypeError, "pack_sends takes sends, a number, three lists, three bytes and six numbers");
        return NULL;
    }
    PyObject *sends = args[0], *queues = args[2], *touched = args[3], *keyed = args[4], *timestamp = args[8];
    long long numbers[5];
    for (int index = 0; index < 5; index++) {
        numbers[index] = PyLong_AsLongLong(args[9 + index]);
        if (numbers[index] == -1 && PyErr_Occurred())
            return NULL;
    }
    const long long begin = numbers[0], body_max = numbers[1], record_max = numbers[2], properties_max = numbers[3];
    const long long total_max = numbers[4];
    const Py_ssize_t first = PyLong_AsSsize_t(args[1]);
    const Py_ssize_t template_size = PyBytes_GET_SIZE(args[5]), topic_size = PyBytes_GET_SIZE(args[6]);
    const Py_ssize_t suffix_size = PyBytes_GET_SIZE(args[7]), fixed = template_size + topic_size + 2;
    if (first < 0 || template_size < TEMPLATE_MIN) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a negative place, or a template that is too short");
        return NULL;
    }

    long long total = 0;
    Py_ssize_t stop = first;
    for (; stop < PyList_GET_SIZE(sends); stop++) {
        PyObject *send = PyList_GET_ITEM(sends, stop);
        if (!PyTuple_CheckExact(send) || PyTuple_GET_SIZE(send) != S_COUNT ||
            !PyBytes_CheckExact(PyTuple_GET_ITEM(send, S_BODY)) ||
            !PyBytes_CheckExact(PyTuple_GET_ITEM(send, S_PROPERTIES))) {
            PyErr_SetString(PyExc_TypeError, "a send is what read_sends gives");
            return NULL;
        }
        const long long queue_id = number_at(send, S_QUEUE);
        const Py_ssize_t body_size = PyBytes_GET_SIZE(PyTuple_GET_ITEM(send, S_BODY));
        const Py_ssize_t properties_size = PyBytes_GET_SIZE(PyTuple_GET_ITEM(send, S_PROPERTIES)) + suffix_size;
        const long long size = fixed + body_size + properties_size;
        if (queue_id < 0 || queue_id >= PyList_GET_SIZE(queues) || PyList_GET_ITEM(queues, queue_id) == Py_None ||
            body_size > body_max || properties_size > properties_max || size > record_max || total + size > total_max)
            break;
        total += size;
    }
    if (PyErr_Occurred())
        return NULL;
    PyObject *records = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
    PyObject *places = PyBytes_FromStringAndSize(NULL, (stop - first) * PLACE);
    if (records == NULL || places == NULL)
        goto failed;
    unsigned char *record = (unsigned char *)PyBytes_AS_STRING(records);
    unsigned char *place = (unsigned char *)PyBytes_AS_STRING(places);
    long long position = begin;
    for (Py_ssize_t index = first; index < stop; index++) {
        PyObject *send = PyList_GET_ITEM(sends, index);
        PyObject *body = PyTuple_GET_ITEM(send, S_BODY), *properties = PyTuple_GET_ITEM(send, S_PROPERTIES);
        const long long queue_id = number_at(send, S_QUEUE), flags = number_at(send, S_SYS_FLAG);
        const long long flag = number_at(send, S_FLAG), born = number_at(send, S_BORN);
        PyObject *queue = PyList_GET_ITEM(queues, queue_id);
        const Py_ssize_t body_size = PyBytes_GET_SIZE(body), own_size = PyBytes_GET_SIZE(properties);
        const Py_ssize_t size = fixed + body_size + own_size + suffix_size;
        const long long queue_offset = add_unit(queue, touched, position, size, PyTuple_GET_ITEM(send, S_TAGS_CODE));
        if (queue_offset < 0 || PyErr_Occurred() ||
            add_keyed(keyed, queue, position, timestamp, PyTuple_GET_ITEM(send, S_KEYS)) < 0)
            goto failed;
        memcpy(record, PyBytes_AS_STRING(args[5]), (size_t)template_size);
        put32(record + AT_SIZE, (uint32_t)size);
        put32(record + AT_CRC, rmq_crc32((unsigned char *)PyBytes_AS_STRING(body), (size_t)body_size) & 0x7FFFFFFFu);
        put32(record + AT_QUEUE_ID, (uint32_t)queue_id);
        put32(record + AT_FLAG, (uint32_t)flag);
        put64(record + AT_QUEUE_OFFSET, (uint64_t)queue_offset);
        put64(record + AT_POSITION, (uint64_t)position);
        put32(record + AT_SYS_FLAG, get32(record + AT_SYS_FLAG) | (uint32_t)flags);
        put64(record + AT_BORN, (uint64_t)born);
        put32(record + template_size - 4, (uint32_t)body_size);
        record += template_size;
        memcpy(record, PyBytes_AS_STRING(body), (size_t)body_size);
        record += body_size;
        memcpy(record, PyBytes_AS_STRING(args[6]), (size_t)topic_size);
        record += topic_size;
        const Py_ssize_t properties_size = own_size + suffix_size;
        record[0] = (unsigned char)(properties_size >> 8);
        record[1] = (unsigned char)properties_size;
        memcpy(record + 2, PyBytes_AS_STRING(properties), (size_t)own_size);
        memcpy(record + 2 + own_size, PyBytes_AS_STRING(args[7]), (size_t)suffix_size);
        record += 2 + properties_size;
        put64(place, (uint64_t)position);
        put64(place + 8, (uint64_t)queue_offset);
        place += PLACE;
        position += size;
    }
    return Py_BuildValue("NN", records, places);
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
    PyObject **memory = slot_of(queue, MEMORY), **staged = memory == NULL ? NULL : slot_of(queue, STAGED);
    PyObject **next = staged == NULL ? NULL : slot_of(queue, STAGED_NEXT);
    PyObject **end = next == NULL ? NULL : slot_of(queue, MAX_OFFSET), *tail = NULL;
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

/* -- answering them ----------------------------------------------------------------------------------------------- */

enum { PIECES = 7 };

static char *
put_number(char *to, long long value)
{
    char digits[20];
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

static char *
put_bytes(char *to, PyObject *bytes)
{
    memcpy(to, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    return to + PyBytes_GET_SIZE(bytes);
}

const char rmq_send_answers_doc[] =
    "send_answers(pieces: tuple[bytes, ...], code: int, sends: list, first: int, places: bytes) -> bytes\n\n"
    "Write the answers to sends from `first` on, as many as there are places, as whole frames. Between the seven pieces\n"
    "of a JSON header stand: code, physical offset in 16 hex digits, queue id, queue offset, unique key, opaque.";

PyObject *
rmq_send_answers(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 5 || !PyTuple_CheckExact(args[0]) || PyTuple_GET_SIZE(args[0]) != PIECES ||
        !PyList_CheckExact(args[2]) || !PyBytes_CheckExact(args[4])) {
        PyErr_SetString(PyExc_TypeError, "send_answers takes seven pieces, a code, sends, a number and places");
        return NULL;
    }
    const long long code = PyLong_AsLongLong(args[1]);
    const Py_ssize_t first = PyLong_AsSsize_t(args[3]), answers = PyBytes_GET_SIZE(args[4]) / PLACE;
    if (PyErr_Occurred())
        return NULL;
    if (first < 0 || first + answers > PyList_GET_SIZE(args[2])) {
        PyErr_SetString(PyExc_ValueError, "more places than sends");
        return NULL;
    }
    PyObject *pieces[PIECES];
    Py_ssize_t size = 0;
    for (int index = 0; index < PIECES; index++) {
        pieces[index] = PyTuple_GET_ITEM(args[0], index);
        if (!PyBytes_CheckExact(pieces[index])) {
            PyErr_SetString(PyExc_TypeError, "a piece is bytes");
            return NULL;
        }
        size += PyBytes_GET_SIZE(pieces[index]);
    }
    Py_ssize_t room = 0;
    for (Py_ssize_t index = 0; index < answers; index++) {
        PyObject *send = PyList_GET_ITEM(args[2], first + index);
        PyObject *keys = PyTuple_CheckExact(send) && PyTuple_GET_SIZE(send) == S_COUNT ? PyTuple_GET_ITEM(send, S_KEYS) : NULL;
        if (keys == NULL || !PyTuple_CheckExact(keys) || PyTuple_GET_SIZE(keys) < 1 ||
            !PyUnicode_Check(PyTuple_GET_ITEM(keys, 0)) || !PyUnicode_IS_COMPACT_ASCII(PyTuple_GET_ITEM(keys, 0))) {
            PyErr_SetString(PyExc_TypeError, "a send is what read_sends gives");
            return NULL;
        }
        room += 8 + size + 4 * 20 + 16 + PyUnicode_GET_LENGTH(PyTuple_GET_ITEM(keys, 0));
    }
    char *begin = PyMem_Malloc(room ? (size_t)room : 1), *to = begin;
    if (begin == NULL)
        return PyErr_NoMemory();
    const unsigned char *place = (const unsigned char *)PyBytes_AS_STRING(args[4]);
    for (Py_ssize_t index = 0; index < answers; index++, place += PLACE) {
        PyObject *send = PyList_GET_ITEM(args[2], first + index);
        PyObject *key = PyTuple_GET_ITEM(PyTuple_GET_ITEM(send, S_KEYS), 0);
        const uint64_t physical = (uint64_t)get32(place) << 32 | get32(place + 4);
        const uint64_t queue_offset = (uint64_t)get32(place + 8) << 32 | get32(place + 12);
        char *frame = to;
        to = put_bytes(to + 8, pieces[0]);
        to = put_number(to, code);
        to = put_bytes(to, pieces[1]);
        for (int shift = 60; shift >= 0; shift -= 4)
            *to++ = "0123456789ABCDEF"[physical >> shift & 15];
        to = put_bytes(to, pieces[2]);
        to = put_number(to, number_at(send, S_QUEUE));
        to = put_bytes(to, pieces[3]);
        to = put_number(to, (long long)queue_offset);
        to = put_bytes(to, pieces[4]);
        memcpy(to, PyUnicode_1BYTE_DATA(key), (size_t)PyUnicode_GET_LENGTH(key));
        to += PyUnicode_GET_LENGTH(key);
        to = put_bytes(to, pieces[5]);
        to = put_number(to, number_at(send, S_OPAQUE));
        to = put_bytes(to, pieces[6]);
        put32((unsigned char *)frame, (uint32_t)(to - frame - 4));
        put32((unsigned char *)frame + 4, (uint32_t)(to - frame - 8)); /* the serialization byte of JSON is 0 */
    }
    PyObject *out = PyErr_Occurred() ? NULL : PyBytes_FromStringAndSize(begin, to - begin);
    PyMem_Free(begin);
    return out;
}
