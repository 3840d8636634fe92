/* SPDX-License-Identifier: MIT */
/* What the cloud learns about its endpoints: health, capabilities, tags, the <think> filter. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud/capability.h"
#include "cloud/health.h"
#include "cloud/think.h"
#include "tests/unit/unit.h"

#define SECOND INT64_C(1000000)
#define DAY_S  INT64_C(86400)

START_TEST(test_the_circuit_opens_probes_and_closes)
{
    struct ulm_health_record h = {0};
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(ulm_health_may_try(&h, 0));
        ulm_health_begin(&h);
        ulm_health_failure(&h, 0);
    }
    ck_assert_int_eq(h.health, ULM_HEALTH_DOWN);
    ck_assert(!ulm_health_may_try(&h, 2 * SECOND - 1));
    ck_assert(ulm_health_may_try(&h, 2 * SECOND));

    /* One probe at a time; a failed one opens the circuit for twice as long. */
    ulm_health_begin(&h);
    ck_assert_int_eq(h.health, ULM_HEALTH_PROBING);
    ck_assert(!ulm_health_may_try(&h, 3 * SECOND));
    ulm_health_failure(&h, 3 * SECOND);
    ck_assert(!ulm_health_may_try(&h, 7 * SECOND - 1));
    ck_assert(ulm_health_may_try(&h, 7 * SECOND));

    /* A probe that was given up says nothing; one that works closes the circuit. */
    ulm_health_begin(&h);
    ulm_health_given_up(&h, 8 * SECOND);
    ck_assert(ulm_health_may_try(&h, 8 * SECOND));
    ulm_health_begin(&h);
    ulm_health_success(&h);
    ck_assert_int_eq(h.health, ULM_HEALTH_OK);
    ulm_health_failure(&h, 9 * SECOND);
    ck_assert_int_eq(h.health, ULM_HEALTH_OK);
    ck_assert_uint_eq(h.requests, 6);
    ck_assert_uint_eq(h.failures, 5);
}
END_TEST

/* Told: the beginning, another kind, the next beginning; never more than once a minute. */
START_TEST(test_failures_are_told_once)
{
    struct ulm_health_record h = {0};
    ck_assert(ulm_health_note(&h, "http", 401, SECOND));
    ck_assert(!ulm_health_note(&h, "http", 401, 2 * SECOND));
    ck_assert(!ulm_health_note(&h, "http", 404, 60 * SECOND));
    ck_assert(!ulm_health_note(&h, "http", 401, 600 * SECOND));
    ck_assert(ulm_health_note(&h, "http", 404, 601 * SECOND));
    ck_assert(ulm_health_note(&h, "dns", 0, 700 * SECOND));
    h.told = NULL; /* it works again */
    ck_assert(!ulm_health_note(&h, "dns", 0, 701 * SECOND));
    ck_assert(ulm_health_note(&h, "dns", 0, 760 * SECOND));
    ck_assert_str_eq(h.last_failure, "dns");
    ck_assert_uint_eq(h.last_status, 0);
}
END_TEST

START_TEST(test_the_pause_is_bounded)
{
    struct ulm_health_record h = {0};
    for (unsigned i = 0; i < 40; i++)
        ulm_health_failure(&h, 0);
    ck_assert_int_eq(h.closed_until_us, 60 * SECOND);
}
END_TEST

START_TEST(test_recent_quantiles)
{
    struct ulm_recent recent = {0};
    ck_assert_int_eq(ulm_recent_quantile_us(&recent, 0.5), 0);
    ulm_recent_add(&recent, 7);
    ck_assert_int_eq(ulm_recent_quantile_us(&recent, 0.95), 7);
    for (int64_t i = 0; i < 100; i++)
        ulm_recent_add(&recent, 1000 - i); /* the last 32: 901 .. 932 */
    ck_assert_int_eq(ulm_recent_quantile_us(&recent, 0.0), 901);
    ck_assert_int_eq(ulm_recent_quantile_us(&recent, 0.5), 917);
    ck_assert_int_eq(ulm_recent_quantile_us(&recent, 1.0), 932);
}
END_TEST

START_TEST(test_latency_moves_towards_what_is_measured)
{
    struct ulm_health_record h = {0};
    ulm_health_first_byte(&h, 100000);
    ck_assert(h.first_byte_ewma_ms > 99.9 && h.first_byte_ewma_ms < 100.1);
    ulm_health_first_byte(&h, 200000);
    ck_assert(h.first_byte_ewma_ms > 119.9 && h.first_byte_ewma_ms < 120.1);
    ck_assert_uint_eq(h.first_byte.n, 2);
}
END_TEST

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert(file != NULL);
    fputs(text, file);
    fclose(file);
}

START_TEST(test_capabilities_are_kept_for_seven_days)
{
    char dir[] = "/tmp/ulm-learned-XXXXXX", path[64];
    struct ulm_capability a = {"https://a/v1", "m", ULM_KNOWN_NO, ULM_KNOWN_UNKNOWN, 1000};
    struct ulm_capability b = {"https://a/v1", "n", ULM_KNOWN_YES, ULM_KNOWN_YES, 2000};
    struct ulm_capability c = {"https://c\"/v1", "n", ULM_KNOWN_UNKNOWN, ULM_KNOWN_UNKNOWN, 0};
    struct stat st;
    ck_assert(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/capabilities.json", dir);

    ck_assert_int_eq(ulm_capabilities_save(dir, (const struct ulm_capability *[]){&a, &b, &c}, 3),
                     0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    static const struct {
        int64_t now_s;
        enum ulm_known a, b;
    } times[] = {
        {2000, ULM_KNOWN_NO, ULM_KNOWN_YES},
        {1999, ULM_KNOWN_NO, ULM_KNOWN_UNKNOWN}, /* from the future: the clock was set back */
        {1000 + 7 * DAY_S - 1, ULM_KNOWN_NO, ULM_KNOWN_YES},
        {1000 + 7 * DAY_S, ULM_KNOWN_UNKNOWN, ULM_KNOWN_YES},
        {2000 + 7 * DAY_S, ULM_KNOWN_UNKNOWN, ULM_KNOWN_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        a.prefill = b.prefill = b.echo = ULM_KNOWN_UNKNOWN;
        struct ulm_capability *all[] = {&a, &b, &c};
        ck_assert_int_eq(ulm_capabilities_load(dir, all, 3, times[i].now_s), 0);
        ck_assert_int_eq(a.prefill, times[i].a);
        ck_assert_int_eq(b.prefill, times[i].b);
        ck_assert_int_eq(b.echo, times[i].b);
        ck_assert_int_eq(c.prefill, ULM_KNOWN_UNKNOWN);
    }
    unlink(path);
    rmdir(dir);
}
END_TEST

START_TEST(test_a_bad_capability_file_is_an_error_and_harms_nothing)
{
    static const char *const bad[] = {"", "{", "\xFF", "[[[[[[[[1]]]]]]]]"};
    static const char *const empty[] = {
        "1", "{}", "{\"models\":1}", "{\"models\":[1,{},{\"url\":\"u\",\"model\":\"m\","
        "\"prefill\":\"maybe\",\"echo\":7,\"learned\":1e300}]}"};
    char dir[] = "/tmp/ulm-learned-XXXXXX", path[64];
    struct ulm_capability a = {.url = "u", .model = "m"};
    struct ulm_capability *all[] = {&a};
    ck_assert(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/capabilities.json", dir);
    ck_assert_int_eq(ulm_capabilities_load(dir, all, 1, 5), 0); /* there is none */
    for (size_t i = 0; i < 4; i++) {
        write_text(path, bad[i]);
        ck_assert_msg(ulm_capabilities_load(dir, all, 1, 5) < 0, "%s", bad[i]);
        write_text(path, empty[i]);
        ck_assert_msg(ulm_capabilities_load(dir, all, 1, 5) == 0, "%s", empty[i]);
        ck_assert_int_eq(a.prefill, ULM_KNOWN_UNKNOWN);
    }
    unlink(path);
    ck_assert_int_eq(symlink("/etc/hostname", path), 0);
    ck_assert_int_lt(ulm_capabilities_load(dir, all, 1, 5), 0);
    unlink(path);
    ck_assert_int_eq(mkdir(path, 0700), 0); /* it cannot be replaced: nothing is left behind */
    ck_assert_int_lt(ulm_capabilities_save(dir, (const struct ulm_capability *[]){&a}, 1), 0);
    rmdir(path);
    ck_assert_int_eq(rmdir(dir), 0);
    ck_assert_int_eq(ulm_capabilities_save("/nowhere", (const struct ulm_capability *[]){&a}, 1),
                     -ENOENT);
}
END_TEST

START_TEST(test_three_missed_tags_of_ten)
{
    struct ulm_tags tags = {0};
    for (unsigned i = 0; i < 2; i++)
        ulm_tags_report(&tags, false, i, SECOND);
    for (unsigned i = 0; i < 9; i++) /* nine seen: the first of the two has left the window */
        ulm_tags_report(&tags, true, 0, SECOND);
    ulm_tags_report(&tags, false, 2, SECOND);
    ck_assert(!ulm_tags_bad(&tags, SECOND));
    ulm_tags_report(&tags, false, 3, SECOND);
    ck_assert(!ulm_tags_bad(&tags, SECOND));
    ulm_tags_report(&tags, false, 4, SECOND);
    ck_assert(ulm_tags_bad(&tags, SECOND));
    ck_assert(ulm_tags_bad(&tags, 601 * SECOND - 1));
    ck_assert(!ulm_tags_bad(&tags, 601 * SECOND)); /* tried again, from a clean window */
    ulm_tags_report(&tags, false, 5, 601 * SECOND);
    ck_assert(!ulm_tags_bad(&tags, 601 * SECOND));
}
END_TEST

START_TEST(test_one_peer_counts_once_a_minute)
{
    struct ulm_tags tags = {0};
    for (unsigned i = 0; i < 50; i++)
        ulm_tags_report(&tags, false, 7, SECOND + i);
    ck_assert(!ulm_tags_bad(&tags, SECOND));
    ulm_tags_report(&tags, false, 7, 61 * SECOND);
    ulm_tags_report(&tags, false, 7, 121 * SECOND);
    ck_assert(ulm_tags_bad(&tags, 121 * SECOND));
}
END_TEST

static const char *think(const char *text, size_t step)
{
    static char result[256];
    struct ulm_think filter = ULM_THINK_INIT;
    struct ulm_buf out = ULM_BUF_INIT(sizeof result - 1);
    for (size_t at = 0, len = strlen(text); at < len; at += step)
        ck_assert_int_eq(ulm_think_feed(&filter, text + at, len - at < step ? len - at : step,
                                        &out), 0);
    ck_assert_int_eq(ulm_think_finish(&filter, &out), 0);
    snprintf(result, sizeof result, "%s", ulm_buf_str(&out));
    ulm_buf_deinit(&out);
    return result;
}

START_TEST(test_thoughts_at_the_start_are_dropped)
{
    static const char *const cases[][2] = {
        {"<think>a</think>b", "b"},
        {" \n<think>\na < b </thin </</think>\n\n b", "b"},
        {"<think></think>", ""},
        {"<think>a", ""},
        {"<think>a</think", ""},
        {"<thin", "<thin"},
        {"  <", "  <"},
        {"   ", "   "},
        {" a<think>b</think>", " a<think>b</think>"},
        {"<thinking>a", "<thinking>a"},
        {"<think>a</think>b<think>c</think>", "b<think>c</think>"},
        {"", ""},
        {"                                        x", "                                        x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t step = 1; step < 50; step++)
            ck_assert_str_eq(think(cases[i][0], step), cases[i][1]);
    }
}
END_TEST

UNIT_MAIN("learned", test_the_circuit_opens_probes_and_closes, test_failures_are_told_once,
          test_the_pause_is_bounded,
          test_recent_quantiles, test_latency_moves_towards_what_is_measured,
          test_capabilities_are_kept_for_seven_days,
          test_a_bad_capability_file_is_an_error_and_harms_nothing, test_three_missed_tags_of_ten,
          test_one_peer_counts_once_a_minute, test_thoughts_at_the_start_are_dropped)
