/* What the compiled parts know of requests: pieces of text, headers, properties, and the tuples that are handed on. */

#ifndef RMQWIRE_REQUESTS_H
#define RMQWIRE_REQUESTS_H

#include "_speed.h"
#include <limits.h>

/* A frame as `cut_frames` gives it. */
typedef struct {
    long serialization;
    Slice header;
    PyObject *body;
} Frame;

enum { SYS_FLAG_PREPARED = 4, SYS_FLAG_COMMIT = 8, SYS_FLAG_ROLLBACK = 12 };
enum { PROPERTIES_MAX = 32767 };

/* -- text, of `_heads.c` ------------------------------------------------------------------------------------------ */

static inline int
equals(Slice text, const char *word)
{
    return text.size == (Py_ssize_t)strlen(word) && memcmp(text.at, word, (size_t)text.size) == 0;
}

/* A whole number without sign or leading zeros, as Java writes it; -1 when it is none, or too large. */
long long rmq_number(Slice text, long long largest);
/* Whether it is printable ASCII. */
int rmq_is_plain(Slice text);

/* The next pair `name \1 value \2` of properties, from `*at` on, which goes on to the one behind it; 0 when there is none.
 * The value is absent where no \1 is; the last \2 may be missing. */
static inline int
next_pair(const unsigned char **at, const unsigned char *end, Slice *name, Slice *value)
{
    const unsigned char *begin = *at;
    if (begin >= end)
        return 0;
    const unsigned char *stop = memchr(begin, 2, (size_t)(end - begin));
    *at = stop == NULL ? end : stop + 1;
    if (stop == NULL)
        stop = end;
    const unsigned char *middle = memchr(begin, 1, (size_t)(stop - begin));
    *name = (Slice){begin, (middle == NULL ? stop : middle) - begin};
    *value = middle == NULL ? (Slice){NULL, -1} : (Slice){middle + 1, stop - middle - 1};
    return 1;
}

/* -- headers, of `_heads.c` --------------------------------------------------------------------------------------- */

/* Printable ASCII without and with escapes of JSON, or any bytes. */
enum { FORM_PLAIN, FORM_ESCAPED, FORM_RAW };

/* Takes an ext field of a request with that code, whose value has that form. 0 when it is not usual. */
typedef int (*TakeField)(void *into, long long code, Slice key, Slice value, int form);

typedef struct {
    long long code, flag, opaque;
} Head;

/* Read the header of a frame of the given serialization. 0 for one that is not usual: with members that mean something to
 * brokers, not in the form in which the official clients write it, or with a field that is not taken. */
int rmq_read_head(long serialization, Slice header, Head *head, TakeField take_field, void *into);

/* -- fields of SEND_MESSAGE_V2 and SEND_BATCH_MESSAGE by their letters, of `_letters.c` --------------------------- */

enum { GROUP, TOPIC, DEFAULT_TOPIC, DEFAULT_QUEUES, QUEUE_ID, SYS_FLAG, BORN, FLAG, PROPERTIES, RECONSUMED, UNIT_MODE,
       MAX_RECONSUMES, BATCH, BROKER, LETTERS };
enum { COMPRESSION_BITS = 0x701 };

typedef struct {
    Slice fields[LETTERS];
    int properties_escaped;
} Letters;

void rmq_no_letters(Letters *letters);
/* 0 when there is no such letter, it was there already, or the value is none that is usual. */
static inline int
take_letter(Letters *letters, Slice key, Slice value, int form)
{
    if (key.size != 1 || key.at[0] < 'a' || key.at[0] >= 'a' + LETTERS || value.size == 0)
        return 0;
    const int which = key.at[0] - 'a';
    if (which == PROPERTIES)
        letters->properties_escaped = form == FORM_ESCAPED;
    else if (form == FORM_ESCAPED || (form == FORM_RAW && !rmq_is_plain(value)))
        return 0;
    if (letters->fields[which].size >= 0)
        return 0;
    letters->fields[which] = value;
    return 1;
}

typedef struct {
    long long queue_id, sys_flag, born, flag;
} Usual;

/* Whether all required letters are there, and all have values that are usual for a batch, or else a send, to that topic,
 * whatever its properties are; the numbers among them. */
int rmq_usual_letters(const Letters *letters, PyObject *topic, int is_batch, Usual *usual);
/* Write out `\u0001` and `\u0002`; the size, or -1 for any other escape. */
Py_ssize_t rmq_unescape(Slice text, unsigned char *out);

/* -- properties, of `_properties.c` ------------------------------------------------------------------------------- */

typedef struct {
    Slice unique, keys, tags, group;
    int is_half; /* TRAN_MSG=true */
    Slice real_topic, real_queue;
    /* Where the pairs of the real topic and queue begin and end; at equal places when they are absent. */
    const unsigned char *topic_at, *topic_end, *queue_at, *queue_end;
} Known;

/* Whether properties are a unique key, and maybe keys, tags, WAIT=true, those of a half message and some of the
 * application's own, each once; any other name may mean that the broker has to act. With `stored` also those that the
 * broker has added. */
int rmq_read_properties(const unsigned char *at, Py_ssize_t size, int stored, Known *known);
/* Whether properties of a request are only such as nobody acts on: WAIT=true, a unique key. */
int rmq_are_harmless(const unsigned char *at, Py_ssize_t size);
int32_t rmq_tags_code(Slice tags);
/* (unique key, key, ...), behind them "T#tags"; NULL with an error. */
PyObject *rmq_keys_of(const Known *known);

/* -- topics: of a run, which is NULL before a request has named it ------------------------------------------------- */

static inline int
is_same_topic(PyObject *topic, Slice named)
{
    return topic == NULL || (PyUnicode_GET_LENGTH(topic) == named.size &&
                             memcmp(PyUnicode_1BYTE_DATA(topic), named.at, (size_t)named.size) == 0);
}

/* The topic as a text of its own or, of a run, that which all requests share. */
static inline PyObject *
topic_text(PyObject *topic, Slice named)
{
    return topic != NULL ? Py_NewRef(topic) : PyUnicode_DecodeASCII((const char *)named.at, named.size, NULL);
}

/* -- runs, of `_runs.c` ------------------------------------------------------------------------------------------- */

/* A request as a tuple; NULL without an error when it is not usual. A request that has a topic sets it. */
typedef PyObject *(*ReadOne)(const Frame *frame, PyObject **topic);

/* Read requests of frames, with the arguments (frames, first), up to the first that is not usual. */
PyObject *rmq_read_run(PyObject *const *args, Py_ssize_t count, ReadOne read_one);
/* A place in a list; -1 with an error. */
Py_ssize_t rmq_place(PyObject *number);
/* So many whole numbers; -1 with an error. */
int rmq_numbers(PyObject *const *args, int count, long long *numbers);

/* -- tuples, of `_runs.c` ----------------------------------------------------------------------------------------- */

/* What is put into the log. Of an end, `S_OPAQUE` is 0; `S_HALF_AT` and `S_HALF_OFFSET` are where its half message is, in
 * the log and in its queue. */
enum { S_OPAQUE, S_TOPIC, S_QUEUE, S_SYS_FLAG, S_BORN, S_FLAG, S_BODY, S_PROPERTIES, S_TAGS_CODE, S_KEYS, S_KIND, S_HALF_AT,
       S_HALF_OFFSET, S_COUNT };
enum { KIND_SEND, KIND_HALF, KIND_COMMIT, KIND_ROLLBACK };

/* An end whose half message has not been read yet. */
enum { E_GROUP, E_HALF_OFFSET, E_HALF_AT, E_KIND, E_COUNT };

enum { B_OPAQUE, B_TOPIC, B_QUEUE, B_SYS_FLAG, B_BORN, B_BODY, B_COUNT };

/* A tuple of parts, whose references it takes; NULL with an error when one of them is NULL. */
static inline PyObject *
new_tuple(PyObject *const *parts, int count)
{
    PyObject *tuple = PyTuple_New(count);
    int complete = tuple != NULL;
    for (int index = 0; index < count; index++)
        complete &= parts[index] != NULL;
    for (int index = 0; index < count; index++) {
        if (complete)
            PyTuple_SET_ITEM(tuple, index, parts[index]);
        else
            Py_XDECREF(parts[index]);
    }
    if (!complete)
        Py_CLEAR(tuple);
    return tuple;
}

/* Whether something from outside is such a tuple, as far as its parts are taken for granted. */
int rmq_is_put(PyObject *put);
int rmq_is_batch(PyObject *batch);

static inline long long
number_at(PyObject *tuple, Py_ssize_t index)
{
    return PyLong_AsLongLong(PyTuple_GET_ITEM(tuple, index));
}

#endif
