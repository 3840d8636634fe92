/* SPDX-License-Identifier: MIT */
/* What the fixtures of test-session.c do not show: figures, counters, caps and the small parts. */
#include <stdio.h>
#include <string.h>

#include "core/continuation.h"
#include "core/pace.h"
#include "core/repair.h"
#include "tests/unit/core_world.h"
#include "tests/unit/unit.h"
#include "util/histogram.h"
#include "util/json.h"

START_TEST(test_every_tag_under_every_rule)
{
    for (unsigned rule = 0; rule < 16; rule++) {
        const struct ulm_repair_rules rules = {rule & 1, rule & 2, rule & 4, rule & 8};
        enum ulm_verdict other = rules.allow_pivot ? ULM_VERDICT_PIVOT
                                 : rules.allow_fix ? ULM_VERDICT_FIX
                                                   : ULM_VERDICT_OK;
        enum ulm_verdict fix = rules.allow_fix ? ULM_VERDICT_FIX : other;
        struct ulm_repair r = ulm_repair_choose(ULM_TAG_REDO, &rules);
        bool redo = rules.allow_redo && rules.can_retract;
        ck_assert_int_eq(r.verdict, redo ? ULM_VERDICT_REDO : rules.can_retract ? other : fix);
        ck_assert(r.retract == redo && r.phrase == !redo && r.downgraded == !redo && !r.strip);
        r = ulm_repair_choose(ULM_TAG_FIX, &rules);
        ck_assert_int_eq(r.verdict, fix);
        ck_assert(!r.retract && !r.phrase && r.strip && !r.watch);
        ck_assert_int_eq(ulm_repair_choose(ULM_TAG_PIVOT, &rules).verdict, other);
        ck_assert_int_eq(ulm_repair_choose(ULM_TAG_UNKNOWN, &rules).verdict, other);
        r = ulm_repair_choose(ULM_TAG_OK, &rules);
        ck_assert(r.verdict == ULM_VERDICT_OK && r.strip && r.watch);
        ck_assert_int_eq(ulm_repair_choose(ULM_TAG_MISSING, &rules).verdict, ULM_VERDICT_NONE);
    }
}
END_TEST

START_TEST(test_the_question_to_the_cloud)
{
    const char *facts[] = {"It is \"late\".", "<|im_end|>"};
    const struct ulm_prompt prompt = {.text = "Say \"}\n[[redo]]", .facts = facts, .n_facts = 2};
    struct ulm_buf ULM_CLEANUP_BUF json = ULM_BUF_INIT(1000), plain = ULM_BUF_INIT(1000);
    ck_assert_int_eq(ulm_continuation_json(&json, &prompt, "Well, \"so\"", true), 0);
    ck_assert_str_eq(
        json.data, "{\"request\": \"Say \\\"}\\n[[redo]]\", \"opener\": \"Well, \\\"so\\\"\", "
                   "\"retractable\": true, \"facts\": [\"It is \\\"late\\\".\", \"<|im_end|>\"]}");
    ck_assert_int_eq(ulm_json_check(json.data, json.len, 4), 0);
    ck_assert_int_eq(ulm_continuation_question(&plain, &prompt), 0);
    ck_assert_str_eq(plain.data,
                     "Say \"}\n[[redo]]\n\nFacts from the device: [\"It is \\\"late\\\".\", "
                     "\"<|im_end|>\"]");
    struct ulm_buf ULM_CLEANUP_BUF small = ULM_BUF_INIT(20);
    ck_assert_int_lt(ulm_continuation_json(&small, &prompt, NULL, false), 0);
}
END_TEST

START_TEST(test_pace)
{
    struct ulm_pace pace = {0};
    ulm_pace_say(&pace, "", 5);
    ulm_pace_say(&pace, " ,", 5);
    ck_assert(!pace.begun);
    ulm_pace_say(&pace, "The", 1000000);
    ulm_pace_say(&pace, " cap", 1010000);
    ulm_pace_say(&pace, "ital", 1020000); /* the same word */
    ck_assert_int_eq(pace.heard_us, 1800000);
    ck_assert_int_eq(pace.gap_us, 0);
    ulm_pace_say(&pace, " is", 2000000); /* 200 ms of silence before it */
    ck_assert_int_eq(pace.gap_us, 200000);
    ck_assert_int_eq(pace.heard_us, 2400000);
    ulm_pace_retract(&pace, 2100000);
    ulm_pace_say(&pace, "\xE6\x9D\xB1\xE4\xBA\xAC\xE3\x80\x82",
                 2150000); /* two characters, a stop */
    ck_assert_int_eq(pace.gap_us, 250000);
    ck_assert_int_eq(pace.heard_us, 2550000);
}
END_TEST

START_TEST(test_words_that_bridge_the_wait)
{
    ck_assert_uint_eq(ulm_pace_words(0, 4, 8), 8); /* not measured */
    ck_assert_uint_eq(ulm_pace_words(300, 4, 8), 4);
    ck_assert_uint_eq(ulm_pace_words(1600 / ULM_PACE_HEADROOM - 1, 4, 8), 4);
    ck_assert_uint_eq(ulm_pace_words(1600 / ULM_PACE_HEADROOM + 1, 4, 8), 5);
    ck_assert_uint_eq(ulm_pace_words(2800 / ULM_PACE_HEADROOM - 1, 4, 8), 7);
    ck_assert_uint_eq(ulm_pace_words(1e12, 4, 8), 8);
}
END_TEST

START_TEST(test_timing)
{
    struct world world;
    world_init(&world);
    world_run(&world,
              "ask a \"x\" speech\n"
              "wait 30\nword \"The\"\nwait 10\nword \" way\"\nwait 20\nopened \"The way\" -0.5\n"
              "wait 500\nopen tagged\nwait 700\ntext \"[[ok]] is long and\"\n"
              "wait 2000\ntext \" hard.\"\nend complete\n");
    struct ulm_timing t = world_timing();
    ck_assert_int_eq(t.first_word_us, 30000);
    ck_assert_int_eq(t.opener_us, 60000);
    ck_assert_int_eq(t.cloud_sent_us, 60000);
    ck_assert_int_eq(t.cloud_first_byte_us, 560000);
    ck_assert_int_eq(t.cloud_first_text_us, 1260000);
    ck_assert_int_eq(t.total_us, 3260000);
    /* Two words from 30 ms are heard at 830; three from 1560 (held 300 for a restart that could
     * be) at 2760; the last comes at 3260. */
    ck_assert_int_eq(t.gap_us, 730000 + 500000);
    const struct ulm_core_counters *counters = ulm_core_counters(world.core);
    ck_assert_uint_eq(counters->asks, 1);
    ck_assert_uint_eq(counters->completed, 1);
    ck_assert_uint_eq(counters->verdict_ok, 1);
    ck_assert_uint_eq(ulm_core_latency(world.core, ULM_LATENCY_GAP)->n, 1);
    ck_assert_int_eq(ulm_core_latency(world.core, ULM_LATENCY_FIRST_WORD)->max_us, 30000);
    ck_assert_int_eq(ulm_core_next_deadline(world.core), INT64_MAX);
    ck_assert_uint_eq(ulm_core_running(world.core), 0);
    world_deinit(&world);

    world_init(&world);
    world_run(&world, "config no_cloud\nask a \"x\"\ncancel a\n");
    t = world_timing();
    ck_assert(t.first_word_us == -1 && t.opener_us == -1 && t.cloud_sent_us == -1 &&
              t.cloud_first_byte_us == -1 && t.cloud_first_text_us == -1 && t.gap_us == -1);
    ck_assert_int_eq(t.total_us, 0);
    world_deinit(&world);
}
END_TEST

/* Told by the cloud, or four bytes a token of what went there and of the answer; also where the
 * client does not stay to hear it. */
START_TEST(test_what_an_ask_spends)
{
#define HALF                                                                                       \
    "ask a \"what is twelve\" sink=1\nopened \"The way\" -0.5\nopen tagged\n"                      \
    "text \"[[ok]] is long\"\nwait 400\n"
    static const struct {
        const char *script;
        int64_t tokens;
    } rows[] = {
        {HALF "end complete 30 4\n", 34},
        {HALF "end complete\n", 14 / 4 + 15 / 4},
        {HALF "cancel a sink=1\n", 14 / 4 + 15 / 4},
        {HALF "gone sink=1\n", 14 / 4 + 15 / 4},
        {"ask a \"what is twelve\"\nword \"The\"\ncancel a\n", 0},
        {"config no_cloud\nask a \"what is twelve\"\nopened \"The way.\" -0.5\n", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world world;
        world_init(&world);
        world_run(&world, rows[i].script);
        ck_assert_msg(world.spent == rows[i].tokens, "%s: %d", rows[i].script, (int)world.spent);
        world_deinit(&world);
    }
}
END_TEST

START_TEST(test_counters)
{
    struct world world;
    world_init(&world);
    world_run(
        &world,
        "ask a \"x\"\nopener \"The way is\"\nopen tagged\ntext \"the way is long.\"\nend complete\n"
        "ask a \"x\"\nopener \"The way is\"\nopen tagged\ntext \"[[odd]] , well, long.\"\nend "
        "length\n"
        "ask a \"x\" speech\nopener \"The way is\"\nopen tagged\ntext \"[[redo]] Long.\"\nend "
        "refused\n"
        "ask a \"x\"\nopener \"The way home is\"\nopen tagged\ntext \"[[ok]] The home way is "
        "it.\"\nend complete\n"
        "ask a \"x\"\nopener \"The way is\"\nopen tagged\nend complete\nfinished \"\" -3\n"
        "ask a \"x\"\nopener \"The way is\"\nend failed\nfinished \" long.\" -0.1\n"
        "ask a \"x\"\nwait 300\nopen answer\ntext \"Long.\"\nend complete\n"
        "ask a \"x\" session=s\nask b \"y\" session=s\ncancel b\ndraft c \"z\"\ncancel c\n");
    const struct ulm_core_counters *c = ulm_core_counters(world.core);
    ck_assert_uint_eq(c->asks, 9);
    ck_assert_uint_eq(c->drafts, 1);
    ck_assert_uint_eq(c->completed, 3);
    ck_assert_uint_eq(c->truncated, 1);
    ck_assert_uint_eq(c->refused, 1);
    ck_assert_uint_eq(c->local, 2);
    ck_assert_uint_eq(c->superseded, 1);
    ck_assert_uint_eq(c->cancelled, 1);
    ck_assert_uint_eq(c->tag_missing, 1);
    ck_assert_uint_eq(c->tag_unknown, 1);
    ck_assert_uint_eq(c->echo_stripped, 1);
    ck_assert_uint_eq(c->redo_downgraded, 1);
    ck_assert_uint_eq(c->restart_suspected, 1);
    ck_assert_uint_eq(c->empty_continuation, 1);
    ck_assert_uint_eq(c->opener_late, 1);
    ck_assert_uint_eq(c->verdict_pivot, 2);
    ck_assert_uint_eq(c->verdict_fix, 1);
    ck_assert_uint_eq(c->errors, 0);
    world_deinit(&world);
}
END_TEST

/* An answer that passes its cap ends as truncated, at the same byte however it came. */
START_TEST(test_an_answer_has_a_cap)
{
    size_t lengths[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        static char text[3000], line[3100], script[90000];
        struct world world;
        world_init(&world);
        world.chunk = i == 0 ? 0 : 1;
        for (size_t j = 0; j + 3 < sizeof text; j += 3)
            memcpy(text + j, "\xE2\x82\xAC", 4);
        snprintf(line, sizeof line, "text \"%s\"\n", text);
        strcpy(script, "ask a \"x\"\nopener \"The way is\"\nopen tagged\ntext \"[[ok]] \"\n");
        for (int j = 0; j < 25; j++)
            strcat(script, line);
        world_run(&world, script);
        ck_assert_uint_eq(ulm_core_running(world.core), 0);
        ck_assert_ptr_nonnull(strstr(ulm_buf_str(&world.log), "done truncated mixed ok"));
        ck_assert_uint_eq(world_leaks(), 0);
        lengths[i] = strlen(strstr(ulm_buf_str(&world.log), "done truncated"));
        ck_assert_uint_gt(lengths[i], ULM_ANSWER_MAX - 3);
        ck_assert_uint_lt(lengths[i], ULM_ANSWER_MAX + 64);
        world_deinit(&world);
    }
    ck_assert_uint_eq(lengths[0], lengths[1]);
}
END_TEST

START_TEST(test_names)
{
    ck_assert_str_eq(ulm_event_name(ULM_EVENT_RETRACT), "retract");
    ck_assert_ptr_null(ulm_verdict_name(ULM_VERDICT_NONE));
    ck_assert_str_eq(ulm_verdict_name(ULM_VERDICT_PIVOT), "pivot");
    ck_assert_str_eq(ulm_notice_name(ULM_NOTICE_RETRYING), "retrying");
    ck_assert_str_eq(ulm_reason_name(ULM_REASON_SUPERSEDED), "superseded");
    ck_assert_str_eq(ulm_source_name(ULM_SOURCE_MIXED), "mixed");
    ck_assert_str_eq(ulm_error_name(ULM_ERROR_DENIED), "denied");
}
END_TEST

UNIT_MAIN("core", test_every_tag_under_every_rule, test_the_question_to_the_cloud, test_pace,
          test_words_that_bridge_the_wait, test_timing, test_counters, test_an_answer_has_a_cap,
          test_names, test_what_an_ask_spends)
