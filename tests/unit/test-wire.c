/* SPDX-License-Identifier: MIT */
/* tests/data/wire/NAME.in is what a client sends, NAME.log what is read from it: the same whole,
 * byte by byte and cut in two at every place. Then what is written. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "front/wire.h"
#include "util/json.h"

#define LOG_MAX (1024u * 1024)

static const char *const op_names[] = {"hello",  "ask",   "draft", "played",
                                       "cancel", "reset", "status"};

/* Appenders cannot fail here. */
__attribute__((format(printf, 2, 3))) static void say(struct ulm_buf *log, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    ck_assert_int_eq(ulm_buf_add_vfmt(log, format, args), 0);
    va_end(args);
}

static void say_text(struct ulm_buf *log, const char *name, const char *text)
{
    if (!text)
        return;
    say(log, " %s=", name);
    ck_assert_int_eq(ulm_json_add_string(log, text), 0);
}

static void say_ask(struct ulm_buf *log, const struct ulm_ask *ask)
{
    say_text(log, "text", ask->prompt.text);
    say_text(log, "session", ask->session);
    for (size_t i = 0; i < ask->prompt.n_facts; i++)
        say_text(log, "fact", ask->prompt.facts[i]);
    if (ask->has_history)
        say(log, " history=%zu", ask->prompt.n_history);
    for (size_t i = 0; i < ask->prompt.n_history; i++)
        say_text(log, ask->prompt.history[i].role == ULM_ROLE_USER ? "user" : "assistant",
                 ask->prompt.history[i].content);
    say(log, " %s retractable=%d", ask->medium == ULM_MEDIUM_SPEECH ? "speech" : "display",
        ask->retractable);
    if (ask->min_words || ask->max_words)
        say(log, " words=%u-%u", ask->min_words, ask->max_words);
    if (ask->deadline_ms)
        say(log, " deadline=%u", ask->deadline_ms);
}

static void say_request(struct ulm_buf *log, const struct ulm_request *request)
{
    say(log, "%s", op_names[request->op]);
    say_text(log, "id", request->id);
    if (request->op == ULM_OP_ASK || request->op == ULM_OP_DRAFT)
        say_ask(log, &request->ask);
    if (request->op == ULM_OP_PLAYED)
        say(log, " words=%u", request->words);
    say_text(log, "session", request->op == ULM_OP_RESET ? request->session : NULL);
    say(log, "%s\n", request->prometheus ? " prometheus" : "");
}

static void take(struct ulm_wire *wire, bool end, struct ulm_buf *log)
{
    for (;;) {
        struct ulm_request request;
        struct ulm_fault fault;
        int r = ulm_wire_next(wire, end, &request, &fault);
        if (r == ULM_WIRE_MORE)
            return;
        if (r == ULM_WIRE_REQUEST) {
            say_request(log, &request);
            ulm_request_deinit(&request);
            continue;
        }
        ck_assert(r == ULM_WIRE_FAULT || r == ULM_WIRE_BROKEN);
        say(log, "%s %s", r == ULM_WIRE_FAULT ? "fault" : "broken", ulm_error_name(fault.code));
        say_text(log, "ref", fault.has_ref ? fault.ref : NULL);
        say(log, " %s\n", fault.message);
    }
}

static void feed(struct ulm_wire *wire, const char *bytes, size_t len, struct ulm_buf *log)
{
    while (len > 0) {
        size_t n = len < ULM_LINE_MAX ? len : ULM_LINE_MAX;
        ck_assert_int_eq(ulm_wire_feed(wire, bytes, n), 0);
        take(wire, false, log);
        bytes += n;
        len -= n;
    }
}

/* The log of the input given in pieces: [0, cut), then `step` bytes at a time (0 = the rest). */
static char *run(const struct ulm_buf *in, size_t cut, size_t step)
{
    struct ulm_buf log = ULM_BUF_INIT(LOG_MAX);
    struct ulm_wire wire;
    ulm_wire_init(&wire);
    feed(&wire, in->data, cut, &log);
    for (size_t at = cut; at < in->len;) {
        size_t n = step > 0 && step < in->len - at ? step : in->len - at;
        feed(&wire, in->data + at, n, &log);
        at += n;
    }
    take(&wire, true, &log);
    ck_assert(wire.broken || wire.taken == wire.in.len);
    ulm_wire_deinit(&wire);
    char *text = ulm_buf_take(&log);
    ck_assert_ptr_nonnull(text);
    return text;
}

static struct ulm_buf slurp(const char *path)
{
    struct ulm_buf buf = ULM_BUF_INIT(LOG_MAX);
    FILE *file = fopen(path, "rb");
    char bytes[4096];
    ck_assert_msg(file != NULL, "%s", path);
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0;)
        ck_assert_int_eq(ulm_buf_add(&buf, bytes, n), 0);
    fclose(file);
    return buf;
}

static void check_fixture(const char *dir, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    struct ulm_buf in = slurp(path);
    strcpy(path + strlen(path) - 2, "log");
    struct ulm_buf expected = slurp(path);

    char *log = run(&in, in.len, 0);
    ck_assert_msg(strcmp(log, ulm_buf_str(&expected)) == 0, "%s:\n%s", name, log);
    for (size_t cut = 0; cut <= in.len; cut++) {
        char *again = run(&in, cut, 0);
        ck_assert_msg(strcmp(again, log) == 0, "%s cut at %zu:\n%s", name, cut, again);
        free(again);
    }
    char *bytewise = run(&in, 0, 1);
    ck_assert_str_eq(bytewise, log);
    free(bytewise);
    free(log);
    ulm_buf_deinit(&in);
    ulm_buf_deinit(&expected);
}

START_TEST(test_fixtures)
{
    char path[512];
    snprintf(path, sizeof path, "%s/wire", getenv("DATA"));
    DIR *dir = opendir(path);
    int n = 0;
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t len = strlen(entry->d_name);
        if (len > 3 && strcmp(entry->d_name + len - 3, ".in") == 0) {
            check_fixture(path, entry->d_name);
            n++;
        }
    }
    closedir(dir);
    ck_assert_int_gt(n, 3);
}
END_TEST

/* A line of `len` bytes, one in front of it and one behind it. */
static char *run_line(size_t len, size_t step)
{
    struct ulm_buf in = ULM_BUF_INIT(4 * ULM_LINE_MAX);
    const char *head = "{\"op\":\"hello\",\"pad\":\"", *tail = "\"}";
    say(&in, "{\"op\":\"hello\",\"id\":\"1\"}\n%s", head);
    ck_assert_int_eq(ulm_buf_reserve(&in, len), 0);
    size_t pad = len - strlen(head) - strlen(tail);
    memset(in.data + in.len, 'x', pad);
    in.len += pad;
    say(&in, "%s\n{\"op\":\"hello\",\"id\":\"3\"}\n", tail);
    char *log = run(&in, 0, step);
    ulm_buf_deinit(&in);
    return log;
}

START_TEST(test_line_length)
{
    static const size_t steps[] = {0, 1, 4096, 65535, 65536};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        char *log = run_line(ULM_LINE_MAX, steps[i]);
        ck_assert_str_eq(log, "hello id=\"1\"\nhello\nhello id=\"3\"\n");
        free(log);
        log = run_line(ULM_LINE_MAX + 1, steps[i]);
        ck_assert_str_eq(log,
                         "hello id=\"1\"\nbroken too_long a line is longer than 65536 bytes\n");
        free(log);
    }
}
END_TEST

/* What stays behind is bounded, whatever comes. */
START_TEST(test_endless_line)
{
    static char bytes[ULM_LINE_MAX];
    struct ulm_wire wire;
    struct ulm_buf log = ULM_BUF_INIT(LOG_MAX);
    ulm_wire_init(&wire);
    memset(bytes, 'x', sizeof bytes);
    for (int i = 0; i < 160; i++) {
        feed(&wire, bytes, sizeof bytes, &log);
        ck_assert_uint_le(wire.in.size, 4 * ULM_LINE_MAX);
    }
    ck_assert_str_eq(ulm_buf_str(&log), "broken too_long a line is longer than 65536 bytes\n");
    ck_assert_ptr_null(wire.in.data);
    ulm_wire_deinit(&wire);
    ulm_buf_deinit(&log);
}
END_TEST

/* Text, facts and history together: the last lawful byte and the first unlawful one. */
START_TEST(test_input_limit)
{
    static char text[ULM_INPUT_MAX + 2];
    memset(text, 'x', sizeof text - 1);
    const char *facts[] = {"abc"};
    const struct ulm_turn turns[] = {{ULM_ROLE_USER, "de"}};
    struct ulm_ask ask = {
        .id = "1",
        .prompt = {.facts = facts, .n_facts = 1, .history = turns, .n_history = 1},
    };
    struct ulm_fault fault;
    ask.prompt.text = text + sizeof text - 1 - (ULM_INPUT_MAX - 5);
    ck_assert(ulm_ask_check(&ask, &fault));
    ask.prompt.text--;
    ck_assert(!ulm_ask_check(&ask, &fault));
    ck_assert_int_eq(fault.code, ULM_ERROR_TOO_LONG);
}
END_TEST

/* Events */

static void check_event(const char *id, const struct ulm_event *event, const char *expected)
{
    struct ulm_buf out = ULM_BUF_INIT(4096);
    ck_assert_int_eq(ulm_wire_add_event(&out, id, event), 0);
    ck_assert_str_eq(ulm_buf_str(&out), expected);
    cJSON *tree = cJSON_Parse(out.data);
    ck_assert_ptr_nonnull(tree);
    cJSON_Delete(tree);

    /* With less room nothing is added. */
    for (size_t cap = 1; cap < out.len; cap++) {
        struct ulm_buf small = ULM_BUF_INIT(cap + 1);
        ck_assert_int_eq(ulm_buf_add(&small, "#", 1), 0);
        ck_assert_int_eq(ulm_wire_add_event(&small, id, event), -ENOBUFS);
        ck_assert_str_eq(ulm_buf_str(&small), "#");
        ulm_buf_deinit(&small);
    }
    ulm_buf_deinit(&out);
}

START_TEST(test_events)
{
    check_event("1", &(struct ulm_event){ULM_EVENT_OPENER, .opener = {" \"q\"\n"}},
                "{\"event\":\"opener\",\"id\":\"1\",\"text\":\" \\\"q\\\"\\n\"}\n");
    check_event("\xC3\xA9", &(struct ulm_event){ULM_EVENT_DELTA, .delta = {" x"}},
                "{\"event\":\"delta\",\"id\":\"\xC3\xA9\",\"text\":\" x\"}\n");
    check_event("1", &(struct ulm_event){ULM_EVENT_OPENED, .opened = {"So it", 2, -0.25}},
                "{\"event\":\"opened\",\"id\":\"1\",\"opener\":\"So it\",\"words\":2,"
                "\"confidence\":-0.250}\n");
    check_event("1", &(struct ulm_event){ULM_EVENT_OPENED, .opened = {"So it", 2, NAN}},
                "{\"event\":\"opened\",\"id\":\"1\",\"opener\":\"So it\",\"words\":2,"
                "\"confidence\":null}\n");
    check_event("1", &(struct ulm_event){ULM_EVENT_REPAIR, .repair = {ULM_VERDICT_FIX, 0, 17}},
                "{\"event\":\"repair\",\"id\":\"1\",\"strategy\":\"fix\",\"span\":[0,17]}\n");
    check_event("1", &(struct ulm_event){ULM_EVENT_RETRACT, .retract = {17}},
                "{\"event\":\"retract\",\"id\":\"1\",\"chars\":17}\n");
    check_event("1", &(struct ulm_event){ULM_EVENT_NOTICE, .notice = {ULM_NOTICE_STALLED}},
                "{\"event\":\"notice\",\"id\":\"1\",\"code\":\"stalled\"}\n");
    check_event(
        "1",
        &(struct ulm_event){ULM_EVENT_DONE, .done = {ULM_REASON_COMPLETE,
                                                     ULM_SOURCE_MIXED,
                                                     ULM_VERDICT_OK,
                                                     "So it is.",
                                                     {31200, 45000, 45100, -1, -1, 60000, 0},
                                                     12,
                                                     34}},
        "{\"event\":\"done\",\"id\":\"1\",\"reason\":\"complete\",\"source\":\"mixed\","
        "\"verdict\":\"ok\",\"text\":\"So it is.\",\"timing\":{\"first_word\":31.200,"
        "\"opener\":45.000,\"cloud_sent\":45.100,\"cloud_first_byte\":null,"
        "\"cloud_first_text\":null,\"total\":60.000,\"gap\":0.000},"
        "\"usage\":{\"input_tokens\":12,\"output_tokens\":34}}\n");
    check_event("1",
                &(struct ulm_event){ULM_EVENT_DONE, .done = {ULM_REASON_LOCAL,
                                                             ULM_SOURCE_LOCAL,
                                                             ULM_VERDICT_NONE,
                                                             "",
                                                             {-1, -1, -1, -1, -1, -1, -1},
                                                             -1,
                                                             -1}},
                "{\"event\":\"done\",\"id\":\"1\",\"reason\":\"local\",\"source\":\"local\","
                "\"verdict\":null,\"text\":\"\",\"timing\":{\"first_word\":null,\"opener\":null,"
                "\"cloud_sent\":null,\"cloud_first_byte\":null,\"cloud_first_text\":null,"
                "\"total\":null,\"gap\":null},\"usage\":null}\n");
    check_event(NULL,
                &(struct ulm_event){ULM_EVENT_ERROR, .error = {ULM_ERROR_NOT_FOUND, "no", "7"}},
                "{\"event\":\"error\",\"code\":\"not_found\",\"message\":\"no\",\"ref\":\"7\"}\n");
    check_event("7", &(struct ulm_event){ULM_EVENT_ERROR, .error = {ULM_ERROR_BUSY, "full", NULL}},
                "{\"event\":\"error\",\"id\":\"7\",\"code\":\"busy\",\"message\":\"full\"}\n");
}
END_TEST

START_TEST(test_answers)
{
    struct ulm_buf out = ULM_BUF_INIT(4096);
    ck_assert_int_eq(ulm_wire_add_ok(&out, "r", "reset"), 0);
    ck_assert_int_eq(ulm_wire_add_answer(&out, "hello", NULL, ",\"protocol\":1"), 0);
    ck_assert_str_eq(ulm_buf_str(&out), "{\"event\":\"ok\",\"id\":\"r\",\"op\":\"reset\"}\n"
                                        "{\"event\":\"hello\",\"protocol\":1}\n");
    ulm_buf_deinit(&out);
}
END_TEST

UNIT_MAIN("wire", test_fixtures, test_line_length, test_endless_line, test_input_limit, test_events,
          test_answers)
