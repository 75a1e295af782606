/* A thread that syncs files and tells by a descriptor when it has, without ever waiting for the interpreter.
 *
 * A Python thread that comes back from `fdatasync` has to wait until the thread that serves the connections lets go of
 * the interpreter, up to 5 ms where the sync itself takes a fifth of one. This thread touches no Python object.
 */

#include "_speed.h"

#ifdef __linux__

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define FDS_MAX 64

typedef struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t called;
    int tell;           /* an eventfd, which is not ours to close */
    int fds[FDS_MAX];   /* what to sync, from `begin` until the descriptor tells */
    int count;
    int failed;         /* place of the first that failed, -1 for none */
    int why;            /* its errno */
    int busy;           /* from `begin` to `ended` */
    int pending;        /* the thread has to begin */
    int done;
    int leaving;
} Work;

typedef struct {
    PyObject_HEAD
    Work *work;
} Syncs;

static void *
serve(void *argument)
{
    Work *work = argument;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&work->lock);
    for (;;) {
        while (!work->pending && !work->leaving)
            pthread_cond_wait(&work->called, &work->lock);
        if (!work->pending)
            break;
        work->pending = 0;
        pthread_mutex_unlock(&work->lock);
        int failed = -1, why = 0;
        for (int place = 0; place < work->count && failed < 0; place++) {
            if (fdatasync(work->fds[place]) != 0) {
                failed = place;
                why = errno;
            }
        }
        pthread_mutex_lock(&work->lock);
        work->failed = failed;
        work->why = why;
        work->done = 1;
        const uint64_t one = 1;
        while (write(work->tell, &one, sizeof one) < 0 && errno == EINTR)
            ;
    }
    pthread_mutex_unlock(&work->lock);
    return NULL;
}

static PyObject *
syncs_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"tell", NULL};
    int tell;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "i:Syncs", names, &tell))
        return NULL;
    Syncs *self = (Syncs *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    Work *work = PyMem_RawCalloc(1, sizeof *work);
    if (work == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    work->tell = tell;
    pthread_mutex_init(&work->lock, NULL);
    pthread_cond_init(&work->called, NULL);
    int error = pthread_create(&work->thread, NULL, serve, work);
    if (error != 0) {
        pthread_cond_destroy(&work->called);
        pthread_mutex_destroy(&work->lock);
        PyMem_RawFree(work);
        Py_DECREF(self);
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    self->work = work;
    return (PyObject *)self;
}

static PyObject *
syncs_begin(Syncs *self, PyObject *argument)
{
    Work *work = self->work;
    if (work == NULL || work->busy) {
        PyErr_SetString(PyExc_RuntimeError, work == NULL ? "closed" : "a sync is under way");
        return NULL;
    }
    PyObject *fds = PySequence_Fast(argument, "descriptors are a sequence");
    if (fds == NULL)
        return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(fds);
    if (count > FDS_MAX) {
        Py_DECREF(fds);
        return PyErr_Format(PyExc_ValueError, "more than %d descriptors", FDS_MAX);
    }
    for (Py_ssize_t place = 0; place < count; place++) {
        long fd = PyLong_AsLong(PySequence_Fast_GET_ITEM(fds, place));
        if (fd == -1 && PyErr_Occurred()) {
            Py_DECREF(fds);
            return NULL;
        }
        work->fds[place] = (int)fd;
    }
    Py_DECREF(fds);
    work->count = (int)count;
    work->busy = 1;
    pthread_mutex_lock(&work->lock);
    work->done = 0;
    work->pending = 1;
    pthread_cond_signal(&work->called);
    pthread_mutex_unlock(&work->lock);
    Py_RETURN_NONE;
}

static PyObject *
syncs_ended(Syncs *self, PyObject *Py_UNUSED(ignored))
{
    Work *work = self->work;
    if (work == NULL || !work->busy)
        Py_RETURN_NONE;
    pthread_mutex_lock(&work->lock);
    int done = work->done, failed = work->failed, why = work->why;
    pthread_mutex_unlock(&work->lock);
    if (!done)
        Py_RETURN_NONE;
    work->busy = 0;
    return Py_BuildValue("ii", failed, why);
}

static void
leave(Syncs *self)
{
    Work *work = self->work;
    if (work == NULL)
        return;
    self->work = NULL;
    pthread_mutex_lock(&work->lock);
    work->leaving = 1;
    pthread_cond_signal(&work->called);
    pthread_mutex_unlock(&work->lock);
    Py_BEGIN_ALLOW_THREADS
    pthread_join(work->thread, NULL);
    Py_END_ALLOW_THREADS
    pthread_cond_destroy(&work->called);
    pthread_mutex_destroy(&work->lock);
    PyMem_RawFree(work);
}

static PyObject *
syncs_close(Syncs *self, PyObject *Py_UNUSED(ignored))
{
    leave(self);
    Py_RETURN_NONE;
}

static void
syncs_dealloc(Syncs *self)
{
    leave(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef syncs_methods[] = {
    {"begin", (PyCFunction)syncs_begin, METH_O, "begin(fds): have these synced, in this order"},
    {"ended", (PyCFunction)syncs_ended, METH_NOARGS,
     "ended() -> None while it is under way, else (place of the first that failed or -1, its errno)"},
    {"close", (PyCFunction)syncs_close, METH_NOARGS, "close(): end the thread, when it has done what it does"},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject syncs_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "rmqwire._speed.Syncs",
    .tp_doc = "Syncs(tell): a thread that syncs files, one call at a time, and adds 1 to the eventfd `tell` after each",
    .tp_basicsize = sizeof(Syncs),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = syncs_new,
    .tp_dealloc = (destructor)syncs_dealloc,
    .tp_methods = syncs_methods,
};

int
rmq_syncs_init(PyObject *module)
{
    if (PyType_Ready(&syncs_type) < 0)
        return -1;
    Py_INCREF(&syncs_type);
    if (PyModule_AddObject(module, "Syncs", (PyObject *)&syncs_type) < 0) {
        Py_DECREF(&syncs_type);
        return -1;
    }
    return 0;
}

#else

int
rmq_syncs_init(PyObject *module)
{
    (void)module;
    return 0;
}

#endif
