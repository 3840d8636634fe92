/* SPDX-License-Identifier: MIT */
#include "cloud/stream.h"

#include <errno.h>
#include <string.h>

#include <ulmd/limits.h>

#include "cloud/dialect.h"
#include "cloud/surrogate.h"
#include "util/cjson.h"
#include "util/json.h"
#include "util/text.h"

void ulm_stream_init(struct ulm_stream *stream, const struct ulm_dialect_table *dialect)
{
    *stream = (struct ulm_stream){
        .dialect = dialect,
        .think = ULM_THINK_INIT,
        .text = ULM_BUF_INIT(ULM_SSE_EVENT_MAX + ULM_ANSWER_MAX),
        .input_tokens = -1,
        .output_tokens = -1,
    };
    ulm_sse_init(&stream->sse);
    ulm_ndjson_init(&stream->ndjson);
}

void ulm_stream_deinit(struct ulm_stream *stream)
{
    ulm_sse_deinit(&stream->sse);
    ulm_ndjson_deinit(&stream->ndjson);
    ulm_buf_wipe(&stream->text);
}

void ulm_stream_fail(struct ulm_stream *stream, const char *word)
{
    if (stream->phase >= ULM_STREAM_ENDED)
        return;
    stream->phase = ULM_STREAM_FAILED;
    stream->error = word;
}

/* Text was appended behind `before`: count it, and cut it where the answer passes its cap. */
static void added(struct ulm_stream *stream, size_t before, int r)
{
    size_t room = ULM_ANSWER_MAX - stream->text_total;
    size_t len = stream->text.len - before;

    if (len > room) {
        len = ulm_utf8_whole(stream->text.data + before, room);
        ulm_buf_truncate(&stream->text, before + len);
        r = -ENOBUFS;
    }
    stream->text_total += len;
    if (r < 0)
        ulm_stream_fail(stream, r == -ENOBUFS ? "cap" : "memory");
}

void ulm_stream_text(struct ulm_stream *stream, const char *text)
{
    ULM_CLEANUP_BUF struct ulm_buf joined = ULM_BUF_INIT(ULM_SSE_EVENT_MAX);
    size_t before = stream->text.len;
    int r = 0;

    if (text[0] != '\0' && (stream->marked || stream->half)) {
        r = ulm_surrogates_join(text, stream->marked, &stream->half, &joined);
        text = ulm_buf_str(&joined);
    }
    if (r == 0)
        r = ulm_think_feed(&stream->think, text, strlen(text), &stream->text);
    added(stream, before, r);
}

void ulm_stream_refusal(struct ulm_stream *stream, const char *text)
{
    size_t before = stream->text.len;
    int r = ulm_think_finish(&stream->think, &stream->text);
    if (r == 0)
        r = ulm_buf_add_str(&stream->text, text);
    added(stream, before, r);
    stream->refusal = true;
}

static void release_held(struct ulm_stream *stream)
{
    size_t before = stream->text.len;
    int r = ulm_think_finish(&stream->think, &stream->text);
    if (r == 0 && stream->half)
        r = ulm_buf_add_str(&stream->text, "\xEF\xBF\xBD");
    stream->half = 0;
    added(stream, before, r);
}

void ulm_stream_closing(struct ulm_stream *stream, enum ulm_cloud_outcome outcome)
{
    if (stream->phase > ULM_STREAM_CLOSING)
        return;
    release_held(stream);
    if (stream->phase == ULM_STREAM_FAILED)
        return;
    stream->phase = ULM_STREAM_CLOSING;
    stream->outcome = stream->refusal ? ULM_CLOUD_REFUSED : outcome;
}

void ulm_stream_end(struct ulm_stream *stream)
{
    if (stream->phase == ULM_STREAM_OPEN)
        ulm_stream_closing(stream, ULM_CLOUD_COMPLETE);
    if (stream->phase == ULM_STREAM_CLOSING)
        stream->phase = ULM_STREAM_ENDED;
}

void ulm_stream_count(int64_t *ret_tokens, const cJSON *tokens)
{
    if (cJSON_IsNumber(tokens) && tokens->valuedouble >= 0 && tokens->valuedouble < 1e15)
        *ret_tokens = (int64_t)tokens->valuedouble;
}

/* How many bytes a browser would show as one U+FFFD: a character as far as it goes right. */
static size_t broken_len(const char *text, size_t len)
{
    uint32_t code;
    size_t n = 0;
    while (n < len && ulm_utf8_decode(text, n + 1, &code) == 0)
        n++;
    return n > 0 ? n : 1;
}

/* Bytes that are no UTF-8 become U+FFFD. 0, -ENOBUFS, -ENOMEM. */
static int repair_utf8(const char *text, size_t len, struct ulm_buf *out)
{
    while (len > 0) {
        size_t whole = ulm_utf8_whole(text, len);
        int r = ulm_buf_add(out, text, whole);
        if (r == 0 && whole < len) {
            r = ulm_buf_add_str(out, "\xEF\xBF\xBD");
            whole += broken_len(text + whole, len - whole);
        }
        if (r < 0)
            return r;
        text += whole;
        len -= whole;
    }
    return 0;
}

/* A model may well say U+0000, which no C string holds: it becomes U+FFFD. Returns how many. */
static size_t replace_nul_escapes(char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < len; i++) {
        if (text[i] != '\\')
            continue;
        i++; /* what follows is escaped, a backslash too */
        if (len - i >= 5 && memcmp(text + i, "u0000", 5) == 0) {
            memcpy(text + i, "uFFFD", 5);
            n++;
        }
    }
    return n;
}

static bool is_done_marker(const char *data)
{
    const char *at = data + strspn(data, " \t");
    return strncmp(at, "[DONE]", 6) == 0 && at[6 + strspn(at + 6, " \t")] == '\0';
}

/* data is an event's and may be changed. */
static void read_event(struct ulm_stream *stream, const char *event, struct ulm_buf *data)
{
    ULM_CLEANUP_BUF struct ulm_buf repaired = ULM_BUF_INIT(3 * (size_t)ULM_SSE_EVENT_MAX);
    const char *text = ulm_buf_str(data);

    if (text[strspn(text, " \t\r\n")] == '\0' && strlen(text) == data->len)
        return;
    if (is_done_marker(text)) {
        ulm_stream_end(stream);
        return;
    }

    stream->marked = ulm_surrogates_mark(data->data, data->len) > 0;
    int r = ulm_json_check(data->data, data->len, ULM_JSON_DEPTH_MAX);
    if (r == -EILSEQ) {
        r = repair_utf8(data->data, data->len, &repaired);
        if (r == 0)
            r = ulm_json_check(repaired.data, repaired.len, ULM_JSON_DEPTH_MAX);
        data = &repaired;
    }
    if (r == -EINVAL && replace_nul_escapes(data->data, data->len) > 0)
        r = ulm_json_check(data->data, data->len, ULM_JSON_DEPTH_MAX);
    if (r < 0) {
        ulm_stream_fail(stream, r == -ENOMEM ? "memory" : r == -E2BIG ? "cap" : "json");
        return;
    }
    cJSON *json = cJSON_ParseWithLength(data->data, data->len);
    if (!json) {
        ulm_stream_fail(stream, "memory");
        return;
    }
    stream->dialect->decode(stream, event, json);
    cJSON_Delete(json);
}

void ulm_stream_feed(struct ulm_stream *stream, const char *bytes, size_t len)
{
    stream->bytes += len;
    if (stream->bytes > ULM_STREAM_MAX)
        ulm_stream_fail(stream, "cap");

    while (len > 0 && stream->phase < ULM_STREAM_ENDED) {
        size_t used;
        int r = stream->dialect->ndjson
                    ? ulm_ndjson_feed(&stream->ndjson, bytes, len, &used)
                    : ulm_sse_feed(&stream->sse, bytes, len, &used);
        if (r < 0)
            ulm_stream_fail(stream, r == -ENOMEM ? "memory" : "cap");
        else if (r == 1 && stream->dialect->ndjson)
            read_event(stream, "", &stream->ndjson.line);
        else if (r == 1)
            read_event(stream, ulm_buf_str(&stream->sse.event), &stream->sse.data);
        bytes += used;
        len -= used;
    }
}

void ulm_stream_finish(struct ulm_stream *stream)
{
    if (stream->phase >= ULM_STREAM_ENDED)
        return;
    if (stream->dialect->ndjson) {
        if (ulm_ndjson_finish(&stream->ndjson) == 1)
            read_event(stream, "", &stream->ndjson.line);
    } else if (ulm_sse_finish(&stream->sse) == 1) {
        read_event(stream, "", &stream->sse.data);
    }
    if (stream->phase == ULM_STREAM_CLOSING && !stream->dialect->needs_marker)
        ulm_stream_end(stream);
    if (stream->phase < ULM_STREAM_ENDED) {
        release_held(stream);
        ulm_stream_fail(stream, "cut");
    }
}
