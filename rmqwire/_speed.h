/* What the compiled parts share: pieces of bytes, big-endian numbers, CRC-32, Java's text hash. */

#ifndef RMQWIRE_SPEED_H
#define RMQWIRE_SPEED_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const unsigned char *at;
    Py_ssize_t size; /* -1: absent */
} Slice;

static inline Slice
bytes_of(PyObject *bytes)
{
    return (Slice){(const unsigned char *)PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes)};
}

static inline int
is_same(Slice one, Slice other)
{
    return one.size == other.size && (one.size <= 0 || memcmp(one.at, other.at, (size_t)one.size) == 0);
}

static inline uint32_t
get32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint64_t
get64(const unsigned char *at)
{
    return (uint64_t)get32(at) << 32 | get32(at + 4);
}

static inline void
put32(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)(value >> 24);
    at[1] = (unsigned char)(value >> 16);
    at[2] = (unsigned char)(value >> 8);
    at[3] = (unsigned char)value;
}

static inline void
put64(unsigned char *at, uint64_t value)
{
    put32(at, (uint32_t)(value >> 32));
    put32(at + 4, (uint32_t)value);
}

/* `String.hashCode` of what `hash` is the hash of, followed by Latin-1 characters; four a step, as each waits for the
 * product of the one before. */
static inline uint32_t
hash_latin(uint32_t hash, const unsigned char *at, Py_ssize_t size)
{
    for (; size >= 4; at += 4, size -= 4)
        hash = hash * 923521u + at[0] * 29791u + at[1] * 961u + at[2] * 31u + at[3];
    for (; size > 0; at++, size--)
        hash = hash * 31 + *at;
    return hash;
}

/* The same with any text; of `_speed.c`. */
uint32_t rmq_java_hash(uint32_t hash, PyObject *text);

/* Of `_crc.c`: CRC-32 (IEEE 802.3). */
uint32_t rmq_crc32(const unsigned char *at, size_t size);
int rmq_crc_init(PyObject *module);

/* Of `_frames.c` and `_memory.c`. */
PyObject *rmq_cut_frames(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *rmq_read_ext(PyObject *module, PyObject *data);
PyObject *rmq_keep_freed(PyObject *module, PyObject *size);
extern const char rmq_cut_frames_doc[], rmq_read_ext_doc[], rmq_keep_freed_doc[];

/* Of `_readsends.c`, `_readbatches.c` and `_halves.c`. */
PyObject *rmq_read_batches(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *rmq_read_sends(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *rmq_read_halves(PyObject *module, PyObject *const *args, Py_ssize_t count);
extern const char rmq_read_sends_doc[], rmq_read_batches_doc[], rmq_read_halves_doc[];

/* Of `_packsends.c` and `_packbatches.c`. */
PyObject *rmq_pack_sends(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *rmq_pack_batches(PyObject *module, PyObject *const *args, Py_ssize_t count);
extern const char rmq_pack_sends_doc[], rmq_pack_batches_doc[];

/* Of `_queues.c`. */
PyObject *rmq_append_units(PyObject *module, PyObject *const *args, Py_ssize_t count);
extern const char rmq_append_units_doc[];
int rmq_queues_init(void);

/* Of `_keys.c`. */
int rmq_keys_init(void);

/* Of `_answers.c`. */
PyObject *rmq_send_answers(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *rmq_batch_answers(PyObject *module, PyObject *const *args, Py_ssize_t count);
extern const char rmq_send_answers_doc[], rmq_batch_answers_doc[];

/* Of `_syncs.c`. */
int rmq_syncs_init(PyObject *module);

#endif
