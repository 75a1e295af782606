/* What the compiled parts know of records and of queues: where numbers lie in a record, and the slots of a queue. */

#ifndef RMQWIRE_RECORDS_H
#define RMQWIRE_RECORDS_H

#include "_speed.h"

/* Bytes of a queue unit, and of a record up to its body length, at least. */
enum { UNIT = 20, TEMPLATE_MIN = 88 };
enum { AT_SIZE = 0, AT_MAGIC = 4, AT_CRC = 8, AT_QUEUE_ID = 12, AT_FLAG = 16, AT_QUEUE_OFFSET = 20, AT_POSITION = 28,
       AT_SYS_FLAG = 36, AT_BORN = 40, AT_BORN_HOST = 48 };
static const uint32_t MAGIC_V1 = 0xDAA320A7u; /* the length of the topic is one byte */

/* -- queues, of `_sends.c` ---------------------------------------------------------------------------------------- */

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

/* Make an array longer; the place of what comes, or NULL with an error. It doubles, as units come one by one. */
unsigned char *rmq_grow(PyObject *array, Py_ssize_t added);

/* -- keys --------------------------------------------------------------------------------------------------------- */

/* Bytes of a key that is hashed: hash i32, physical offset i64; `store/keyed.py`. */
enum { HASHED_KEY = 12 };

/* `IndexFile.indexKeyHashMethod` of a `String.hashCode`. */
static inline uint32_t
index_hash(uint32_t hash)
{
    return hash >= 0x80000000u ? (0u - hash) & 0x7FFFFFFFu : hash;
}

/* -- places ------------------------------------------------------------------------------------------------------- */

/* Of a send or a half message that is stored: physical offset i64, queue offset i64. Of a batch: how many messages i64,
 * queue offset of the first i64, physical offset of each i64. */
enum { SEND_PLACE = 16, BATCH_HEAD = 16, BATCH_PLACE = 8 };

#endif
