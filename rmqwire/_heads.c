/* Headers of requests as the official clients write them, in JSON and in the binary form, without an object for each field.
 *
 * `rmqwire.header_json` and `rmqwire.header_binary` are the reference: what is not plainly usual is left to them.
 */

#include "_requests.h"

/* -- text -------------------------------------------------------------------------------------------------- */

long long
rmq_number(Slice text, long long largest)
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

int
rmq_is_plain(Slice text)
{
    for (Py_ssize_t index = 0; index < text.size; index++)
        if (text.at[index] < 0x20 || text.at[index] >= 0x7F)
            return 0;
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

/* What is not taken for itself in a string: its end, an escape, and what is no printable ASCII. */
static const unsigned char is_special[256] = {[0 ... 0x1F] = 1, ['"'] = 1, ['\\'] = 1, [0x7F ... 0xFF] = 1};

static int
take_string(Text *text, Slice *out, int *escaped)
{
    if (!take(text, '"'))
        return 0;
    const unsigned char *at = text->at, *end = text->end;
    out->at = at;
    *escaped = 0;
    for (; at < end; at += 2) { /* behind an escape */
        while (at < end && !is_special[*at])
            at++;
        if (at == end)
            return 0;
        if (*at == '"') {
            out->size = at - out->at;
            text->at = at + 1;
            return 1;
        }
        if (*at != '\\' || end - at < 2)
            return 0;
        *escaped = 1;
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
    const long long value = rmq_number(digits, INT_MAX);
    if (value < 0 || (negative && value == 0))
        return 0;
    *out = negative ? -value : value;
    return 1;
}

static int
take_ext(Text *text, long long code, TakeField take_field, void *into)
{
    if (!take(text, '{'))
        return 0;
    do {
        Slice key, value;
        int escaped, value_escaped;
        if (!take_string(text, &key, &escaped) || escaped || !take(text, ':') ||
            !take_string(text, &value, &value_escaped) || !take_field(into, code, key, value, value_escaped ? FORM_ESCAPED : FORM_PLAIN))
            return 0;
    } while (take(text, ','));
    return take(text, '}');
}

static int
read_json(const unsigned char *data, Py_ssize_t size, Head *head, TakeField take_field, void *into)
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
            if (!take_integer(&text, &head->code))
                return 0;
        }
        else if (equals(key, "extFields")) {
            bit = 2;
            if (!(seen & 1) || !take_ext(&text, head->code, take_field, into))
                return 0;
        }
        else if (equals(key, "flag")) {
            bit = 4;
            if (!take_integer(&text, &head->flag))
                return 0;
        }
        else if (equals(key, "opaque")) {
            bit = 8;
            if (!take_integer(&text, &head->opaque))
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
read_binary(const unsigned char *at, Py_ssize_t size, Head *head, TakeField take_field, void *into)
{
    /* code i16 | language i8 | version i16 | opaque i32 | flag i32 | remark length i32 | ext length i32 | ext */
    if (size < 21)
        return 0;
    head->code = (int16_t)(at[0] << 8 | at[1]);
    head->opaque = (int32_t)get32(at + 5);
    head->flag = (int32_t)get32(at + 9);
    if (get32(at + 13) != 0 || (long long)get32(at + 17) != size - 21)
        return 0;
    const unsigned char *end = at + size;
    for (at += 21; at < end;) {
        if (end - at < 6)
            return 0;
        const Slice key = {at + 2, (Py_ssize_t)(at[0] << 8 | at[1])};
        if (end - key.at < key.size + 4)
            return 0;
        const long long value_size = (int32_t)get32(key.at + key.size);
        const Slice value = {key.at + key.size + 4, (Py_ssize_t)value_size};
        if (value_size < 0 || end - value.at < value_size || !take_field(into, head->code, key, value, FORM_RAW))
            return 0;
        at = value.at + value_size;
    }
    return 1;
}

int
rmq_read_head(long serialization, Slice header, Head *head, TakeField take_field, void *into)
{
    return serialization == 0 ? read_json(header.at, header.size, head, take_field, into)
                              : serialization == 1 && read_binary(header.at, header.size, head, take_field, into);
}
