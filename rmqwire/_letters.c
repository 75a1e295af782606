/* The ext fields of SEND_MESSAGE_V2 and SEND_BATCH_MESSAGE, which have letters for names, and which values are usual. */

#include "_requests.h"

void
rmq_no_letters(Letters *letters)
{
    letters->properties_escaped = 0;
    for (int index = 0; index < LETTERS; index++)
        letters->fields[index].size = -1;
}

static int
is_absent_or(Slice field, const char *word)
{
    return field.size < 0 || equals(field, word);
}

int
rmq_usual_letters(const Letters *letters, PyObject *topic, int is_batch, Usual *usual)
{
    const Slice *fields = letters->fields;
    if (fields[GROUP].size < 0 || fields[TOPIC].size < 0 || fields[DEFAULT_TOPIC].size < 0 ||
        rmq_number(fields[DEFAULT_QUEUES], INT_MAX) < 0)
        return 0;
    usual->queue_id = rmq_number(fields[QUEUE_ID], INT_MAX);
    usual->sys_flag = rmq_number(fields[SYS_FLAG], 0xFFFF);
    usual->born = rmq_number(fields[BORN], LLONG_MAX);
    usual->flag = rmq_number(fields[FLAG], INT_MAX);
    const long long flag_bits = COMPRESSION_BITS | (is_batch ? 0 : SYS_FLAG_PREPARED);
    if (usual->queue_id < 0 || usual->sys_flag < 0 || usual->sys_flag & ~flag_bits || usual->born < 0 || usual->flag < 0)
        return 0;
    return is_absent_or(fields[RECONSUMED], "0") &&
           (is_absent_or(fields[UNIT_MODE], "false") || equals(fields[UNIT_MODE], "true")) &&
           (fields[MAX_RECONSUMES].size < 0 || rmq_number(fields[MAX_RECONSUMES], INT_MAX) >= 0) &&
           (is_absent_or(fields[BATCH], "false") || (is_batch && equals(fields[BATCH], "true"))) &&
           is_same_topic(topic, fields[TOPIC]);
}

Py_ssize_t
rmq_unescape(Slice text, unsigned char *out)
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
