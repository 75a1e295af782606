/* What the C library does with freed memory. */

#include "_speed.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

const char rmq_keep_freed_doc[] =
    "keep_freed(size: int) -> bool\n\n"
    "Let the process keep so many freed bytes at the end of its heap, and take blocks up to half of that from the\n"
    "heap. False where the C library is not glibc, and nothing changes.";

PyObject *
rmq_keep_freed(PyObject *module, PyObject *size)
{
    (void)module;
    const long long bytes = PyLong_AsLongLong(size);
    if (bytes == -1 && PyErr_Occurred())
        return NULL;
    if (bytes < 4096 || bytes > 64 << 20) {
        PyErr_SetString(PyExc_ValueError, "4 KiB to 64 MiB can be kept");
        return NULL;
    }
#ifdef __GLIBC__
    return PyBool_FromLong(mallopt(M_MMAP_THRESHOLD, (int)(bytes / 2)) && mallopt(M_TRIM_THRESHOLD, (int)bytes));
#else
    Py_RETURN_FALSE;
#endif
}
