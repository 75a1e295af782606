/* CRC-32 (IEEE 802.3), the fastest way that this processor has.
 *
 * A sum is the remainder of the message, taken as a polynomial over GF(2), by P = x^32 + x^26 + ... + 1; bytes and bits
 * come in reflected order, so that the lowest bit of the first byte is the highest power. Three ways give the same:
 *
 *   table   eight bytes a step, by tables; everywhere
 *   folded  64 bytes a step, by carry-less multiplication (PCLMULQDQ); x86-64 processors that have it
 *   steps   eight bytes a step, by the instructions for it; ARMv8 when the compiler may use them
 *
 * Folding: a block of 128 bits that is D bits ahead of another one counts as itself times x^D, so that it can be added to
 * the other one after a multiplication by x^D mod P. With what is left at the end the table goes on.
 */

#include "_speed.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAS_FOLDED 1
#include <wmmintrin.h>
#else
#define HAS_FOLDED 0
#endif

#if defined(__aarch64__) && defined(__ARM_FEATURE_CRC32) && defined(__BYTE_ORDER__) && \
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HAS_STEPS 1
#include <arm_acle.h>
#else
#define HAS_STEPS 0
#endif

enum { FOLDED_MIN = 64, WITHOUT_INTERPRETER_MIN = 256 * 1024 };

/* Goes on with a sum that is not inverted yet. */
typedef uint32_t Way(uint32_t crc, const unsigned char *at, size_t size);

static const uint32_t POLYNOMIAL = 0xEDB88320u;

static uint32_t table[8][256];

static uint32_t
times_x(uint32_t value)
{
    return value & 1 ? value >> 1 ^ POLYNOMIAL : value >> 1;
}

static void
make_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = times_x(crc);
        table[0][byte] = crc;
    }
    for (int row = 1; row < 8; row++)
        for (uint32_t byte = 0; byte < 256; byte++)
            table[row][byte] = table[row - 1][byte] >> 8 ^ table[0][table[row - 1][byte] & 0xFF];
}

static uint32_t
by_table(uint32_t crc, const unsigned char *at, size_t size)
{
    while (size >= 8) {
        const uint32_t low =
            crc ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
        crc = table[7][low & 0xFF] ^ table[6][low >> 8 & 0xFF] ^ table[5][low >> 16 & 0xFF] ^ table[4][low >> 24] ^
              table[3][at[4]] ^ table[2][at[5]] ^ table[1][at[6]] ^ table[0][at[7]];
        at += 8;
        size -= 8;
    }
    while (size--)
        crc = crc >> 8 ^ table[0][(crc ^ *at++) & 0xFF];
    return crc;
}

#if HAS_FOLDED

static uint64_t ahead_4_low, ahead_4_high, ahead_1_low, ahead_1_high;

/* x^power mod P as a factor: the product of two reflected numbers of 64 bits is reflected, but one bit too low, and a
 * remainder has 32 bits in a factor of 64. So it is shifted by one, and multiplies by x^32 more than it says. */
static uint64_t
factor(int power)
{
    uint32_t value = 0x80000000u; /* x^0 */
    while (power-- > 0)
        value = times_x(value);
    return (uint64_t)value << 1;
}

static void
make_factors(void)
{
    /* The low half holds the higher powers: it is 64 bits further ahead. */
    ahead_4_low = factor(4 * 128 + 64 - 32);
    ahead_4_high = factor(4 * 128 - 32);
    ahead_1_low = factor(128 + 64 - 32);
    ahead_1_high = factor(128 - 32);
}

/* `block` times the factors, added to what is that much behind it. */
__attribute__((target("pclmul,sse2"), always_inline)) static inline __m128i
fold(__m128i block, __m128i factors, __m128i behind)
{
    const __m128i low = _mm_clmulepi64_si128(block, factors, 0x00), high = _mm_clmulepi64_si128(block, factors, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), behind);
}

__attribute__((target("pclmul,sse2"))) static uint32_t
folded(uint32_t crc, const unsigned char *at, size_t size)
{
    if (size < FOLDED_MIN)
        return by_table(crc, at, size);
    const __m128i ahead_4 = _mm_set_epi64x((long long)ahead_4_high, (long long)ahead_4_low);
    const __m128i ahead_1 = _mm_set_epi64x((long long)ahead_1_high, (long long)ahead_1_low);
    const __m128i *from = (const __m128i *)at;
    __m128i first = _mm_xor_si128(_mm_loadu_si128(from), _mm_cvtsi32_si128((int)crc));
    __m128i second = _mm_loadu_si128(from + 1), third = _mm_loadu_si128(from + 2), fourth = _mm_loadu_si128(from + 3);
    for (from += 4, size -= 64; size >= 64; from += 4, size -= 64) {
        first = fold(first, ahead_4, _mm_loadu_si128(from));
        second = fold(second, ahead_4, _mm_loadu_si128(from + 1));
        third = fold(third, ahead_4, _mm_loadu_si128(from + 2));
        fourth = fold(fourth, ahead_4, _mm_loadu_si128(from + 3));
    }
    first = fold(fold(fold(first, ahead_1, second), ahead_1, third), ahead_1, fourth);
    for (; size >= 16; from++, size -= 16)
        first = fold(first, ahead_1, _mm_loadu_si128(from));
    unsigned char left[16];
    _mm_storeu_si128((__m128i *)left, first);
    return by_table(by_table(0, left, sizeof left), (const unsigned char *)from, size);
}

#endif

#if HAS_STEPS

static uint32_t
by_steps(uint32_t crc, const unsigned char *at, size_t size)
{
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t eight;
        memcpy(&eight, at, sizeof eight);
        crc = __crc32d(crc, eight);
    }
    while (size--)
        crc = __crc32b(crc, *at++);
    return crc;
}

#endif

static struct {
    const char *name;
    Way *way;
} ways[3]; /* those of this processor, the fastest one first */
static int way_count;

static void
add_way(const char *name, Way *way)
{
    ways[way_count].name = name;
    ways[way_count++].way = way;
}

uint32_t
rmq_crc32(const unsigned char *at, size_t size)
{
    return ~ways[0].way(0xFFFFFFFFu, at, size);
}

/* -- in Python ---------------------------------------------------------------------------------------------------- */

static PyObject *
sum_of(PyObject *data, Way *way)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    uint32_t crc;
    if (view.len >= WITHOUT_INTERPRETER_MIN) {
        Py_BEGIN_ALLOW_THREADS
        crc = way(0xFFFFFFFFu, view.buf, (size_t)view.len);
        Py_END_ALLOW_THREADS
    }
    else
        crc = way(0xFFFFFFFFu, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return PyLong_FromUnsignedLong(~crc & 0xFFFFFFFFu);
}

PyDoc_STRVAR(crc32_doc, "crc32(data, /) -> int\n\nCRC-32 (IEEE 802.3) of a buffer, as zlib.crc32.");

static PyObject *
crc32(PyObject *module, PyObject *data)
{
    (void)module;
    return sum_of(data, ways[0].way);
}

PyDoc_STRVAR(crc32_by_doc, "crc32_by(way: str, data, /) -> int\n\nThe same in one of CRC32_WAYS, for tests.");

static PyObject *
crc32_by(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 2 || !PyUnicode_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "crc32_by takes a name and a buffer");
        return NULL;
    }
    for (int index = 0; index < way_count; index++)
        if (PyUnicode_CompareWithASCIIString(args[0], ways[index].name) == 0)
            return sum_of(args[1], ways[index].way);
    PyErr_Format(PyExc_ValueError, "this processor has no way %R", args[0]);
    return NULL;
}

static PyMethodDef functions[] = {
    {"crc32", crc32, METH_O, crc32_doc},
    {"crc32_by", (PyCFunction)(void (*)(void))crc32_by, METH_FASTCALL, crc32_by_doc},
    {NULL, NULL, 0, NULL},
};

int
rmq_crc_init(PyObject *module)
{
    way_count = 0;
    make_table();
#if HAS_FOLDED
    make_factors();
    if (__builtin_cpu_supports("pclmul"))
        add_way("folded", folded);
#endif
#if HAS_STEPS
    add_way("steps", by_steps);
#endif
    add_way("table", by_table);
    PyObject *names = PyTuple_New(way_count);
    for (int index = 0; names != NULL && index < way_count; index++) {
        PyObject *name = PyUnicode_FromString(ways[index].name);
        if (name == NULL)
            Py_CLEAR(names);
        else
            PyTuple_SET_ITEM(names, index, name);
    }
    if (names == NULL || PyModule_AddFunctions(module, functions) < 0 ||
        PyModule_AddObjectRef(module, "CRC32_WAYS", names) < 0) {
        Py_XDECREF(names);
        return -1;
    }
    Py_DECREF(names);
    return 0;
}
