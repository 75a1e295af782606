/* What the compiled parts know of records and of queues: where numbers lie in a record, and the slots of a queue. */

#ifndef RMQWIRE_RECORDS_H
#define RMQWIRE_RECORDS_H

#include "_speed.h"

/* Bytes of a queue unit, and of a record up to its body length, at least. */
enum { UNIT = 20, TEMPLATE_MIN = 88 };
enum { AT_SIZE = 0, AT_MAGIC = 4, AT_CRC = 8, AT_QUEUE_ID = 12, AT_FLAG = 16, AT_QUEUE_OFFSET = 20, AT_POSITION = 28,
       AT_SYS_FLAG = 36, AT_BORN = 40, AT_BORN_HOST = 48 };
static const uint32_t MAGIC_V1 = 0xDAA320A7u; /* the length of the topic is one byte */

/* Begin the record of a message in a run: what is equal in the run, up to the length of the body, and its own of that. */
static inline void
begin_record(unsigned char *record, Slice template, Py_ssize_t size, Slice body, long long queue_offset, long long position)
{
    memcpy(record, template.at, (size_t)template.size);
    put32(record + AT_SIZE, (uint32_t)size);
    put32(record + AT_CRC, rmq_crc32(body.at, (size_t)body.size) & 0x7FFFFFFFu);
    put64(record + AT_QUEUE_OFFSET, (uint64_t)queue_offset);
    put64(record + AT_POSITION, (uint64_t)position);
    put32(record + template.size - 4, (uint32_t)body.size);
}

/* -- queues, of `_queues.c` --------------------------------------------------------------------------------------- */

/* The attributes of a queue that are looked at for each message. */
enum { HASHER, STAGED, STAGED_NEXT, MEMORY, MAX_OFFSET, SLOT_COUNT };

/* Where a queue has an attribute; NULL with an error when it has none. The queue keeps what is there. */
PyObject **rmq_slot_of(PyObject *queue, int which);

static inline void
set_slot(PyObject **slot, PyObject *value)
{
    PyObject *before = *slot;
    *slot = Py_NewRef(value);
    Py_DECREF(before);
}

/* Give a queue so many units more, of which `first` is the offset; where they are to be written, or NULL with an error. */
unsigned char *rmq_stage_units(PyObject *queue, PyObject *touched, Py_ssize_t count, long long *first);

static inline void
put_unit(unsigned char *unit, long long position, Py_ssize_t size, long long tags_code)
{
    put64(unit, (uint64_t)position);
    put32(unit + 8, (uint32_t)size);
    put64(unit + 12, (uint64_t)tags_code);
}

/* -- keys, of `_keys.c` ------------------------------------------------------------------------------------------- */

/* Bytes of a key that is hashed: hash i32, physical offset i64; `store/keyed.py`. */
enum { HASHED_KEY = 12 };

/* `IndexFile.indexKeyHashMethod` of a `String.hashCode`. */
static inline uint32_t
index_hash(uint32_t hash)
{
    return hash >= 0x80000000u ? (0u - hash) & 0x7FFFFFFFu : hash;
}

/* Note a message, or several whose keys are hashed and the last of which is at `position`, for the index; -1 with an
 * error. */
int rmq_add_keyed(PyObject *keyed, PyObject *hasher, long long position, PyObject *timestamp, PyObject *keys);

/* Keys that were hashed. */
typedef struct {
    unsigned char *at;
    Py_ssize_t size, room;
    long long last; /* physical offset of the last one */
} Hashed;

/* The hash of the topic, with which those of all its keys begin; -1 with an error. */
int rmq_topic_hash(PyObject *hasher, uint32_t *hash);
/* Read the properties of a message of a batch as `tags_and_keys` does: the code of its tags, and its keys, which are
 * hashed; -1 with an error. */
int rmq_hash_keys(Slice properties, uint32_t topic_hash, long long position, Hashed *hashed, int32_t *tags_code);
int rmq_add_hashed(PyObject *keyed, PyObject *hasher, const Hashed *hashed, PyObject *timestamp);

/* -- places ------------------------------------------------------------------------------------------------------- */

/* Of a send or a half message that is stored: physical offset i64, queue offset i64. Of a batch: how many messages i64,
 * queue offset of the first i64, physical offset of each i64. */
enum { SEND_PLACE = 16, BATCH_HEAD = 16, BATCH_PLACE = 8 };

#endif
