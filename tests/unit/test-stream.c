/* SPDX-License-Identifier: MIT */
/* Recorded-shape streams: NAME.in gives NAME.log whole, byte by byte, and cut at every place. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include <ulmd/cloud.h>

#include "cloud/dialect.h"
#include "cloud/stream.h"
#include "tests/unit/unit.h"
#include "util/buf.h"

static struct ulm_buf read_file(const char *path)
{
    struct ulm_buf buf = ULM_BUF_INIT(8 * 1024 * 1024);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s is missing", path);
    for (int c; (c = getc(file)) != EOF;) {
        char byte = (char)c;
        ck_assert_int_eq(ulm_buf_add(&buf, &byte, 1), 0);
    }
    fclose(file);
    return buf;
}

/* A copy that ends where its memory ends, for tools that see an over-read. */
static char *exact(const char *bytes, size_t len)
{
    char *copy = malloc(len ? len : 1);
    ck_assert(copy != NULL);
    memcpy(copy, bytes, len);
    return copy;
}

static void log_sse(struct ulm_sse *sse, struct ulm_buf *log)
{
    ck_assert_int_eq(ulm_buf_add_fmt(log, "event [%s] data [%s]\n", ulm_buf_str(&sse->event),
                                     ulm_buf_str(&sse->data)), 0);
}

static void feed_sse(struct ulm_sse *sse, const char *bytes, size_t len, struct ulm_buf *log)
{
    char *copy = exact(bytes, len);
    for (size_t at = 0; at < len;) {
        size_t used;
        int r = ulm_sse_feed(sse, copy + at, len - at, &used);
        ck_assert(r >= 0);
        if (r == 1)
            log_sse(sse, log);
        at += used;
    }
    free(copy);
}

static void replay_sse(const struct ulm_buf *in, size_t cut, size_t step, struct ulm_buf *log)
{
    struct ulm_sse sse;
    ulm_sse_init(&sse);
    feed_sse(&sse, in->data, cut, log);
    for (size_t at = cut; at < in->len; at += step)
        feed_sse(&sse, in->data + at, in->len - at < step ? in->len - at : step, log);
    if (ulm_sse_finish(&sse) == 1)
        log_sse(&sse, log);
    ulm_sse_deinit(&sse);
}

static void feed_stream(struct ulm_stream *stream, const char *bytes, size_t len)
{
    char *copy = exact(bytes, len);
    ulm_stream_feed(stream, copy, len);
    free(copy);
}

static void replay_stream(const struct ulm_dialect_table *dialect, const struct ulm_buf *in,
                          size_t cut, size_t step, struct ulm_buf *log)
{
    static const char *const outcomes[] = {"complete", "length", "refused", "truncated", "failed"};
    struct ulm_stream stream;
    ulm_stream_init(&stream, dialect);
    feed_stream(&stream, in->data, cut);
    for (size_t at = cut; at < in->len; at += step)
        feed_stream(&stream, in->data + at, in->len - at < step ? in->len - at : step);
    ulm_stream_finish(&stream);

    int r = ulm_buf_add_fmt(log, "text [%s]\n", ulm_buf_str(&stream.text));
    if (stream.phase == ULM_STREAM_ENDED)
        r |= ulm_buf_add_fmt(log, "end %s\n", outcomes[stream.outcome]);
    else
        r |= ulm_buf_add_fmt(log, "failed %s\n", stream.error);
    r |= ulm_buf_add_fmt(log, "tokens %lld %lld\n", (long long)stream.input_tokens,
                         (long long)stream.output_tokens);
    ck_assert_int_eq(r, 0);
    ulm_stream_deinit(&stream);
}

static void replay(const char *folder, const struct ulm_buf *in, size_t cut, size_t step,
                   struct ulm_buf *log)
{
    enum ulm_dialect dialect;
    if (strcmp(folder, "sse") == 0) {
        replay_sse(in, cut, step, log);
    } else {
        ck_assert_int_eq(ulm_dialect_from_name(folder, &dialect), 0);
        replay_stream(ulm_dialect_table(dialect), in, cut, step, log);
    }
}

static void check_file(const char *folder, const char *path)
{
    char log_path[4096];
    struct ulm_buf in = read_file(path);
    snprintf(log_path, sizeof log_path, "%.*s.log", (int)strlen(path) - 3, path);
    struct ulm_buf expected = read_file(log_path);

    for (size_t cut = 0; cut <= in.len + 1; cut++) {
        struct ulm_buf log = ULM_BUF_INIT(1024 * 1024);
        if (cut <= in.len)
            replay(folder, &in, cut, in.len ? in.len : 1, &log);
        else
            replay(folder, &in, 0, 1, &log);
        ck_assert_msg(strcmp(ulm_buf_str(&log), ulm_buf_str(&expected)) == 0,
                      "%s cut at %zu gives\n%s", path, cut, ulm_buf_str(&log));
        ulm_buf_deinit(&log);
    }
    ulm_buf_deinit(&in);
    ulm_buf_deinit(&expected);
}

static unsigned check_folder(const char *folder)
{
    unsigned n = 0;
    char path[4096];
    snprintf(path, sizeof path, "%s/cloud/%s", getenv("DATA"), folder);
    DIR *dir = opendir(path);
    ck_assert_msg(dir != NULL, "%s", path);
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t len = strlen(entry->d_name);
        if (len < 4 || strcmp(entry->d_name + len - 3, ".in") != 0)
            continue;
        snprintf(path, sizeof path, "%s/cloud/%s/%s", getenv("DATA"), folder, entry->d_name);
        check_file(folder, path);
        n++;
    }
    closedir(dir);
    return n;
}

START_TEST(test_sse_fixtures)
{
    ck_assert_uint_ge(check_folder("sse"), 5);
}
END_TEST

START_TEST(test_dialect_fixtures)
{
    for (unsigned i = 0; i < ULM_DIALECT_N; i++)
        ck_assert_uint_ge(check_folder(ulm_dialect_name((enum ulm_dialect)i)), 3);
}
END_TEST

/* Feeds text n times over; ends with the stream's phase and error in a string. */
static const char *flood(enum ulm_dialect dialect, const char *head, const char *text, size_t n)
{
    static char result[64];
    struct ulm_stream stream;
    ulm_stream_init(&stream, ulm_dialect_table(dialect));
    ulm_stream_feed(&stream, head, strlen(head));
    for (size_t i = 0; i < n; i++)
        ulm_stream_feed(&stream, text, strlen(text));
    ck_assert_uint_le(stream.text.len, ULM_ANSWER_MAX);
    ck_assert_uint_eq(stream.text.len, stream.text_total);
    snprintf(result, sizeof result, "%s %zu",
             stream.phase == ULM_STREAM_FAILED ? stream.error : "ok", stream.text.len);
    ulm_stream_deinit(&stream);
    return result;
}

START_TEST(test_caps)
{
    static const char event[] = "data: {\"choices\":[{\"delta\":{\"content\":\"\xC3\xA9"
                                "23456789\"}}]}\n\n";
    ck_assert_str_eq(flood(ULM_DIALECT_OPENAI_CHAT, "", event, 6553), "ok 65530");
    ck_assert_str_eq(flood(ULM_DIALECT_OPENAI_CHAT, "", event, 6554), "cap 65536");
    ck_assert_str_eq(flood(ULM_DIALECT_OPENAI_CHAT, "data: x", event, 6000), "json 0");
    ck_assert_str_eq(flood(ULM_DIALECT_OPENAI_CHAT, ": ", "ping", 70000), "cap 0"); /* line */
    ck_assert_str_eq(flood(ULM_DIALECT_OPENAI_CHAT, "data: \"", "data: 0123456789\n", 110000),
                     "cap 0"); /* event */
    ck_assert_str_eq(flood(ULM_DIALECT_OPENAI_CHAT, "", ": ping\n\n", 2097152), "ok 0");
    ck_assert_str_eq(flood(ULM_DIALECT_OPENAI_CHAT, "", ": ping\n\n", 2097153), "cap 0");
    ck_assert_str_eq(flood(ULM_DIALECT_OLLAMA, "", "{\"a\":1 ", 160000), "cap 0");
    ck_assert_str_eq(flood(ULM_DIALECT_OPENAI_CHAT, "data: ", "[", 40), "ok 0");
    ck_assert_str_eq(flood(ULM_DIALECT_OPENAI_CHAT,
                           "data: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
                           "]\n",
                           "\n", 1), "cap 0");
}
END_TEST

/* Each value takes forty times its bytes once it is read. */
START_TEST(test_values_are_capped)
{
    struct ulm_stream stream;
    ulm_stream_init(&stream, ulm_dialect_table(ULM_DIALECT_OLLAMA));
    ulm_stream_feed(&stream, "[0", 2);
    for (size_t i = 0; i < ULM_JSON_VALUES_MAX; i++)
        ulm_stream_feed(&stream, ",0", 2);
    ulm_stream_feed(&stream, "]\n", 2);
    ck_assert_int_eq(stream.phase, ULM_STREAM_FAILED);
    ck_assert_str_eq(stream.error, "cap");
    ulm_stream_deinit(&stream);
}
END_TEST

static const char *write_body(enum ulm_dialect dialect, bool prefill, const char *effort)
{
    static struct ulm_buf buf;
    const struct ulm_turn history[] = {
        {ULM_ROLE_USER, "q\n"}, {ULM_ROLE_ASSISTANT, "a"}, {ULM_ROLE_ASSISTANT, ""}};
    struct ulm_body body = {
        .model = "m",
        .system = "s\"",
        .history = history,
        .n_history = 3,
        .user = "u",
        .opener = prefill ? "O is" : NULL,
        .max_tokens = 9,
        .reasoning_effort = effort,
    };
    ulm_buf_deinit(&buf);
    buf.cap = 4096;
    ck_assert_int_eq(ulm_dialect_write(ulm_dialect_table(dialect), &body, &buf), 0);
    return ulm_buf_str(&buf);
}

#define SYSTEM "{\"role\":\"system\",\"content\":\"s\\\"\"},"
#define TURNS                                                                                      \
    "{\"role\":\"user\",\"content\":\"q\\n\"},{\"role\":\"assistant\",\"content\":\"a\"},"         \
    "{\"role\":\"user\",\"content\":\"u\"}"
#define OPENER ",{\"role\":\"assistant\",\"content\":\"O is\""
#define HEAD   "{\"model\":\"m\",\"stream\":true,\"messages\":[" SYSTEM TURNS
#define USAGE  ",\"stream_options\":{\"include_usage\":true}"
#define NOTHINK                                                                                    \
    ",\"chat_template_kwargs\":{\"enable_thinking\":false,\"thinking\":false}"
#define LLAMA                                                                                      \
    ",\"chat_template_kwargs\":{\"enable_thinking\":false},\"cache_prompt\":true,"               \
    "\"sse_ping_interval\":5}"
#define OFF ",\"thinking\":{\"type\":\"disabled\"}"

START_TEST(test_bodies)
{
    static const struct {
        enum ulm_dialect dialect;
        const char *instruct, *prefill; /* NULL = none */
    } bodies[] = {
        {ULM_DIALECT_OPENAI_CHAT, HEAD "],\"max_completion_tokens\":9" USAGE "}", NULL},
        {ULM_DIALECT_OPENAI_RESPONSES,
         "{\"model\":\"m\",\"stream\":true,\"store\":false,\"instructions\":\"s\\\"\",\"input\":["
         TURNS "],\"max_output_tokens\":9}", NULL},
        {ULM_DIALECT_ANTHROPIC,
         "{\"model\":\"m\",\"max_tokens\":9,\"stream\":true,\"system\":\"s\\\"\",\"messages\":["
         TURNS "]}",
         "{\"model\":\"m\",\"max_tokens\":9,\"stream\":true,\"system\":\"s\\\"\",\"messages\":["
         TURNS OPENER "}]}"},
        {ULM_DIALECT_MISTRAL, HEAD "],\"max_tokens\":9}",
         HEAD OPENER ",\"prefix\":true}],\"max_tokens\":9}"},
        {ULM_DIALECT_DEEPSEEK, HEAD "],\"max_tokens\":9" USAGE OFF "}",
         HEAD OPENER ",\"prefix\":true}],\"max_tokens\":9" USAGE OFF "}"},
        {ULM_DIALECT_VLLM, HEAD "],\"max_tokens\":9" USAGE NOTHINK "}",
         HEAD OPENER "}],\"max_tokens\":9" USAGE NOTHINK ",\"continue_final_message\":true,"
         "\"add_generation_prompt\":false,\"echo\":false}"},
        {ULM_DIALECT_SGLANG, HEAD "],\"max_tokens\":9" USAGE NOTHINK "}",
         HEAD OPENER "}],\"max_tokens\":9" USAGE NOTHINK ",\"continue_final_message\":true}"},
        {ULM_DIALECT_LLAMA_SERVER, HEAD "],\"max_tokens\":9" USAGE LLAMA,
         HEAD OPENER "}],\"max_tokens\":9" USAGE LLAMA},
        {ULM_DIALECT_OLLAMA,
         "{\"model\":\"m\",\"stream\":true,\"think\":false,\"keep_alive\":\"30m\",\"options\":"
         "{\"num_predict\":9},\"messages\":[" SYSTEM TURNS "]}",
         "{\"model\":\"m\",\"stream\":true,\"think\":false,\"keep_alive\":\"30m\",\"options\":"
         "{\"num_predict\":9},\"messages\":[" SYSTEM TURNS OPENER "}]}"},
        {ULM_DIALECT_OPENROUTER,
         HEAD "],\"max_completion_tokens\":9" USAGE ",\"reasoning\":{\"exclude\":true}}",
         HEAD OPENER "}],\"max_completion_tokens\":9" USAGE
         ",\"reasoning\":{\"exclude\":true}}"},
    };
    ck_assert_uint_eq(sizeof bodies / sizeof *bodies, ULM_DIALECT_N);
    for (size_t i = 0; i < ULM_DIALECT_N; i++) {
        ck_assert_str_eq(write_body(bodies[i].dialect, false, NULL), bodies[i].instruct);
        ck_assert(ulm_dialect_table(bodies[i].dialect)->has_prefill == !!bodies[i].prefill);
        if (bodies[i].prefill)
            ck_assert_str_eq(write_body(bodies[i].dialect, true, NULL), bodies[i].prefill);
    }
}
END_TEST

/* The effort stands where each API has it; "none" turns reasoning off where it can be. */
START_TEST(test_effort)
{
    static const char plain_none[] = "\"reasoning_effort\":\"none\"";
    static const char plain_low[] = "\"reasoning_effort\":\"low\"";
    static const struct {
        enum ulm_dialect dialect;
        const char *none, *low, *not_low; /* in the body with that effort; or not in it */
    } rows[] = {
        {ULM_DIALECT_OPENAI_CHAT, plain_none, plain_low, "thinking"},
        {ULM_DIALECT_OPENAI_RESPONSES, "\"reasoning\":{\"effort\":\"none\"}",
         "\"reasoning\":{\"effort\":\"low\"}", "reasoning_effort"},
        {ULM_DIALECT_ANTHROPIC, OFF ",", "\"output_config\":{\"effort\":\"low\"}", "thinking"},
        {ULM_DIALECT_MISTRAL, plain_none, plain_low, "thinking"},
        {ULM_DIALECT_DEEPSEEK, OFF "}", ",\"thinking\":{\"type\":\"enabled\"},"
         "\"reasoning_effort\":\"low\"}", "disabled"},
        {ULM_DIALECT_VLLM, NOTHINK, plain_low, "thinking"},
        {ULM_DIALECT_SGLANG, NOTHINK, plain_low, "thinking"},
        {ULM_DIALECT_LLAMA_SERVER, LLAMA,
         "\"chat_template_kwargs\":{\"reasoning_effort\":\"low\"}", "thinking"},
        {ULM_DIALECT_OLLAMA, "\"think\":false", "\"think\":\"low\"", "reasoning"},
        {ULM_DIALECT_OPENROUTER, "\"reasoning\":{\"exclude\":true,\"effort\":\"none\"}}",
         "\"reasoning\":{\"exclude\":true,\"effort\":\"low\"}}", "reasoning_effort"},
    };
    ck_assert_uint_eq(sizeof rows / sizeof *rows, ULM_DIALECT_N);
    for (size_t i = 0; i < ULM_DIALECT_N; i++) {
        ck_assert_ptr_nonnull(strstr(write_body(rows[i].dialect, false, "none"), rows[i].none));
        ck_assert_ptr_nonnull(strstr(write_body(rows[i].dialect, false, "low"), rows[i].low));
        ck_assert_ptr_null(strstr(write_body(rows[i].dialect, false, "low"), rows[i].not_low));
    }
}
END_TEST

/* What fuzzes the first of these fuzzes all of them (tests/fuzz). */
START_TEST(test_seven_dialects_are_read_as_one)
{
    static const enum ulm_dialect alike[] = {
        ULM_DIALECT_OPENAI_CHAT,  ULM_DIALECT_MISTRAL,      ULM_DIALECT_DEEPSEEK,
        ULM_DIALECT_VLLM,         ULM_DIALECT_SGLANG,       ULM_DIALECT_LLAMA_SERVER,
        ULM_DIALECT_OPENROUTER,
    };
    const struct ulm_dialect_table *first = ulm_dialect_table(alike[0]);
    for (size_t i = 0; i < sizeof alike / sizeof *alike; i++) {
        const struct ulm_dialect_table *table = ulm_dialect_table(alike[i]);
        ck_assert_ptr_eq(table->decode, first->decode);
        ck_assert(table->ndjson == first->ndjson && table->needs_marker == first->needs_marker);
    }
}
END_TEST

UNIT_MAIN("stream", test_sse_fixtures, test_dialect_fixtures, test_caps, test_bodies,
          test_effort, test_values_are_capped,
          test_seven_dialects_are_read_as_one)
