/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "core/history.h"
#include "core/prompt.h"
#include "tests/unit/unit.h"
#include <ulmd/limits.h>

static size_t turns_of(struct ulm_history *history, uid_t uid, const char *name,
                       const struct ulm_turn **ret_turns)
{
    size_t n = 0;
    *ret_turns = NULL;
    ulm_history_find(history, uid, name, ret_turns, &n);
    return n;
}

static void add(struct ulm_history *history, uid_t uid, const char *name, const char *question,
                const char *answer)
{
    const struct ulm_prompt prompt = {.text = question};
    ck_assert_int_eq(ulm_history_add(history, uid, name, &prompt, answer), 0);
}

START_TEST(test_sessions_belong_to_a_peer)
{
    struct ulm_history history;
    const struct ulm_turn *turns;
    ulm_history_init(&history, 4, 3);
    add(&history, 1, "home", "q", "a");
    ck_assert_uint_eq(turns_of(&history, 1, "home", &turns), 2);
    ck_assert_int_eq(turns[0].role, ULM_ROLE_USER);
    ck_assert_str_eq(turns[0].content, "q");
    ck_assert_int_eq(turns[1].role, ULM_ROLE_ASSISTANT);
    ck_assert_str_eq(turns[1].content, "a");
    ck_assert_uint_eq(turns_of(&history, 2, "home", &turns), 0);
    ck_assert_uint_eq(turns_of(&history, 1, "Home", &turns), 0);
    ulm_history_forget(&history, 2, "home");
    ck_assert_uint_eq(turns_of(&history, 1, "home", &turns), 2);
    ulm_history_forget(&history, 1, "home");
    ck_assert_uint_eq(turns_of(&history, 1, "home", &turns), 0);
    ulm_history_deinit(&history);
    ulm_history_deinit(&history);
}
END_TEST

START_TEST(test_the_newest_exchanges_are_kept)
{
    struct ulm_history history;
    const struct ulm_turn *turns;
    ulm_history_init(&history, 4, 2);
    add(&history, 1, "s", "q1", "a1");
    add(&history, 1, "s", "q2", "a2");
    add(&history, 1, "s", "q3", "a3");
    ck_assert_uint_eq(turns_of(&history, 1, "s", &turns), 4);
    ck_assert_str_eq(turns[0].content, "q2");
    ck_assert_str_eq(turns[3].content, "a3");
    ulm_history_limit(&history, 4, 1);
    ck_assert_uint_eq(turns_of(&history, 1, "s", &turns), 2);
    ck_assert_str_eq(turns[0].content, "q3");
    ulm_history_deinit(&history);
}
END_TEST

START_TEST(test_the_longest_unused_session_goes)
{
    struct ulm_history history;
    const struct ulm_turn *turns;
    ulm_history_init(&history, 2, 2);
    add(&history, 1, "a", "q", "a");
    add(&history, 1, "b", "q", "a");
    turns_of(&history, 1, "a", &turns);
    add(&history, 1, "c", "q", "a");
    ck_assert_uint_eq(turns_of(&history, 1, "a", &turns), 2);
    ck_assert_uint_eq(turns_of(&history, 1, "b", &turns), 0);
    ck_assert_uint_eq(turns_of(&history, 1, "c", &turns), 2);
    ck_assert_uint_eq(history.n_sessions, 2);
    ulm_history_limit(&history, 0, 2);
    ck_assert_uint_eq(history.n_sessions, 0);
    add(&history, 1, "d", "q", "a");
    ck_assert_uint_eq(turns_of(&history, 1, "d", &turns), 0);
    ulm_history_deinit(&history);
}
END_TEST

START_TEST(test_who_begins_many_forgets_its_own)
{
    struct ulm_history history;
    const struct ulm_turn *turns;
    char name[16];
    ulm_history_init(&history, 4, 2);
    add(&history, 1, "home", "q", "a");
    add(&history, 2, "work", "q", "a");
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "s%d", i);
        add(&history, 3, name, "q", "a");
    }
    ck_assert_uint_eq(turns_of(&history, 1, "home", &turns), 2);
    ck_assert_uint_eq(turns_of(&history, 2, "work", &turns), 2);
    ck_assert_uint_eq(turns_of(&history, 3, "s18", &turns), 2);
    ck_assert_uint_eq(turns_of(&history, 3, "s19", &turns), 2);
    ck_assert_uint_eq(history.n_sessions, 4);
    add(&history, 4, "new", "q", "a");
    ck_assert_uint_eq(turns_of(&history, 1, "home", &turns), 2);
    ck_assert_uint_eq(turns_of(&history, 3, "s18", &turns), 0);
    ulm_history_deinit(&history);
    ck_assert_uint_eq(history.n_sessions, 0);
}
END_TEST

START_TEST(test_bytes_are_bounded)
{
    struct ulm_history history;
    const struct ulm_turn *turns;
    static char answer[ULM_ANSWER_MAX + 1];
    memset(answer, 'x', ULM_ANSWER_MAX);
    ulm_history_init(&history, 2, 32);
    for (int i = 0; i < 40; i++)
        add(&history, 1, "s", "q", answer);
    ck_assert_uint_eq(turns_of(&history, 1, "s", &turns), 2);
    memset(answer, 0, sizeof answer);
    strcpy(answer, "short");
    for (int i = 0; i < 40; i++)
        add(&history, 1, "s", "q", answer);
    ck_assert_uint_eq(turns_of(&history, 1, "s", &turns), ULM_TURNS_MAX);
    ulm_history_deinit(&history);
}
END_TEST

START_TEST(test_an_unknown_session_begins_with_what_was_given)
{
    struct ulm_history history;
    const struct ulm_turn *turns;
    const struct ulm_turn given[] = {
        {ULM_ROLE_ASSISTANT, "zeroth"}, {ULM_ROLE_USER, "first"}, {ULM_ROLE_ASSISTANT, "second"}};
    const struct ulm_prompt prompt = {.text = "third", .history = given, .n_history = 3};
    ulm_history_init(&history, 2, 4);
    ck_assert_int_eq(ulm_history_add(&history, 1, "s", &prompt, "fourth"), 0);
    ck_assert_uint_eq(turns_of(&history, 1, "s", &turns), 4);
    ck_assert_str_eq(turns[0].content, "first"); /* a history begins with a question */
    ck_assert_str_eq(turns[3].content, "fourth");
    ulm_history_deinit(&history);
}
END_TEST

START_TEST(test_a_prompt_is_copied_whole)
{
    char text[] = "text", fact[] = "fact", content[] = "content";
    const char *facts[] = {fact, ""};
    const struct ulm_turn turns[] = {{ULM_ROLE_ASSISTANT, content}};
    const struct ulm_prompt prompt = {.text = text, .facts = facts, .n_facts = 2};
    struct ulm_prompt *copy = ulm_prompt_copy(&prompt, turns, 1);
    memset(text, 'x', 4);
    memset(fact, 'x', 4);
    memset(content, 'x', 7);
    ck_assert_str_eq(copy->text, "text");
    ck_assert_uint_eq(copy->n_facts, 2);
    ck_assert_str_eq(copy->facts[0], "fact");
    ck_assert_str_eq(copy->facts[1], "");
    ck_assert_uint_eq(copy->n_history, 1);
    ck_assert_int_eq(copy->history[0].role, ULM_ROLE_ASSISTANT);
    ck_assert_str_eq(copy->history[0].content, "content");
    ck_assert_ptr_null(ulm_prompt_free(copy));
    ck_assert_ptr_null(ulm_prompt_free(NULL));
}
END_TEST

UNIT_MAIN("history", test_sessions_belong_to_a_peer, test_the_newest_exchanges_are_kept,
          test_the_longest_unused_session_goes, test_bytes_are_bounded,
          test_an_unknown_session_begins_with_what_was_given, test_a_prompt_is_copied_whole,
          test_who_begins_many_forgets_its_own)
