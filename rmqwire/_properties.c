/* Properties of messages: whether they are usual, and what brokers need of them.
 *
 * `rmqwire.properties` and `rmqd.protocol.broker.send_properties` are the reference.
 */

#include "_requests.h"

enum { OWN_MAX = 16 };

/* Whether a property is the application's own: the names that mean something to brokers have no small letter, or begin
 * with two underscores (`MessageConst`). */
static int
is_users_own(Slice name)
{
    int small = 0;
    for (Py_ssize_t index = 0; index < name.size; index++)
        small |= name.at[index] >= 'a' && name.at[index] <= 'z';
    return small && rmq_is_plain(name) && !(name.size >= 2 && name.at[0] == '_' && name.at[1] == '_');
}

enum { P_UNIQUE, P_KEYS, P_TAGS, P_WAIT, P_OPENS, P_GROUP, P_REAL_TOPIC, P_REAL_QUEUE, P_ADDED };
static const struct {
    const char *name;
    int which, only_stored;
} names_known[] = {
    {"UNIQ_KEY", P_UNIQUE, 0},
    {"KEYS", P_KEYS, 0},
    {"TAGS", P_TAGS, 0},
    {"WAIT", P_WAIT, 0},
    {"TRAN_MSG", P_OPENS, 0},
    {"PGROUP", P_GROUP, 0},
    {"REAL_TOPIC", P_REAL_TOPIC, 1},
    {"REAL_QID", P_REAL_QUEUE, 1},
    {"MSG_REGION", P_ADDED, 1},
    {"TRACE_ON", P_ADDED + 1, 1},
    {"CLUSTER", P_ADDED + 2, 1},
    {"__transactionId__", P_ADDED + 3, 1},
};
enum { NAMES_KNOWN = sizeof names_known / sizeof *names_known };

/* Its place in `names_known`, or -1. */
static int
find_name(Slice name, int stored)
{
    for (int index = 0; index < NAMES_KNOWN; index++)
        if (equals(name, names_known[index].name))
            return names_known[index].only_stored && !stored ? -1 : index;
    return -1;
}

static int
is_usual_unique_key(Slice key)
{
    for (Py_ssize_t index = 0; index < key.size; index++)
        if (!Py_ISALNUM(key.at[index]))
            return 0;
    return key.size > 0;
}

/* Whether keys stand one space apart. */
static int
are_usual_keys(Slice keys)
{
    for (Py_ssize_t index = 0; index < keys.size; index++)
        if (keys.at[index] == ' ' && (index == 0 || index == keys.size - 1 || keys.at[index + 1] == ' '))
            return 0;
    return 1;
}

int
rmq_are_harmless(const unsigned char *at, Py_ssize_t size)
{
    const unsigned char *end = at + size;
    for (Slice name, value; next_pair(&at, end, &name, &value);) {
        if (value.size < 0)
            return 0;
        if (!(equals(name, "WAIT") && equals(value, "true")) && !(equals(name, "UNIQ_KEY") && rmq_is_plain(value)))
            return 0;
    }
    return 1;
}

int
rmq_read_properties(const unsigned char *at, Py_ssize_t size, int stored, Known *known)
{
    const unsigned char *begin = at, *end = at + size;
    int own = 0;
    unsigned seen = 0;
    Slice names[OWN_MAX];
    known->unique.size = known->keys.size = known->tags.size = known->group.size = -1;
    known->real_topic.size = known->real_queue.size = -1;
    known->topic_at = known->topic_end = known->queue_at = known->queue_end = begin;
    known->is_half = 0;
    for (Slice name, value; next_pair(&at, end, &name, &value);) {
        if (value.size <= 0 || !rmq_is_plain(value))
            return 0;
        const int found = find_name(name, stored);
        if (found < 0) {
            if (own == OWN_MAX || !is_users_own(name))
                return 0;
            for (int before = 0; before < own; before++)
                if (is_same(names[before], name))
                    return 0;
            names[own++] = name;
            continue;
        }
        const unsigned bit = 1u << found;
        if (seen & bit)
            return 0;
        seen |= bit;
        switch (names_known[found].which) {
        case P_UNIQUE:
            known->unique = value;
            break;
        case P_KEYS:
            known->keys = value;
            break;
        case P_TAGS:
            known->tags = value;
            break;
        case P_WAIT:
            if (!equals(value, "true"))
                return 0;
            break;
        case P_OPENS:
            if (!equals(value, "true"))
                return 0;
            known->is_half = 1;
            break;
        case P_GROUP:
            known->group = value;
            break;
        case P_REAL_TOPIC:
            known->real_topic = value;
            known->topic_at = name.at;
            known->topic_end = at;
            break;
        case P_REAL_QUEUE:
            known->real_queue = value;
            known->queue_at = name.at;
            known->queue_end = at;
            break;
        default:
            break;
        }
    }
    if (known->unique.size < 0 || !is_usual_unique_key(known->unique))
        return 0;
    return known->keys.size < 0 || are_usual_keys(known->keys);
}

int32_t
rmq_tags_code(Slice tags)
{
    return (int32_t)hash_latin(0, tags.at, tags.size);
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

PyObject *
rmq_keys_of(const Known *known)
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

