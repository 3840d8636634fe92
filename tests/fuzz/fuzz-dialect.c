/* SPDX-License-Identifier: MIT */
/* Compiled once a dialect: DIALECT is its name. */
#include <stdlib.h>
#include <string.h>

#include "cloud/dialect.h"
#include "cloud/stream.h"
#include "tests/fuzz/fuzz.h"
#include "util/text.h"

static void read_in_steps(struct ulm_stream *stream, const char *bytes, size_t size, size_t n)
{
    enum ulm_dialect dialect;
    if (ulm_dialect_from_name(DIALECT, &dialect) < 0)
        abort();
    ulm_stream_init(stream, ulm_dialect_table(dialect));
    for (size_t at = 0; at < size; at += n)
        ulm_stream_feed(stream, bytes + at, size - at < n ? size - at : n);
    ulm_stream_finish(stream);
    if (stream->phase < ULM_STREAM_ENDED || stream->text.len > ULM_ANSWER_MAX ||
        !ulm_utf8_valid(stream->text.data, stream->text.len))
        abort();
}

/* However it is cut, the same text, in whole characters, and the same end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ulm_stream a, b;
    read_in_steps(&a, (const char *)data, size, size + 1);
    read_in_steps(&b, (const char *)data, size, 1);
    if (a.phase != b.phase || a.outcome != b.outcome || a.error != b.error ||
        a.output_tokens != b.output_tokens ||
        strcmp(ulm_buf_str(&a.text), ulm_buf_str(&b.text)) != 0)
        abort();
    ulm_stream_deinit(&a);
    ulm_stream_deinit(&b);
    return 0;
}
