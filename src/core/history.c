/* SPDX-License-Identifier: MIT */
#include "core/history.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <ulmd/limits.h>

struct ulm_history_session {
    struct ulm_history_session *next; /* ulm_history::newest */
    uid_t uid;
    char name[ULM_SESSION_NAME_MAX + 1];
    struct ulm_turn turns[ULM_SESSION_TURNS_MAX]; /* contents owned */
    size_t n_turns, bytes;
};

static void forget_text(const char *text)
{
    char *mine = (char *)text;
    if (mine)
        explicit_bzero(mine, strlen(mine));
    free(mine);
}

static void drop_oldest(struct ulm_history_session *session, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        session->bytes -= strlen(session->turns[i].content);
        forget_text(session->turns[i].content);
    }
    session->n_turns -= n;
    memmove(session->turns, session->turns + n, session->n_turns * sizeof *session->turns);
}

static void session_free(struct ulm_history_session *session)
{
    drop_oldest(session, session->n_turns);
    free(session);
}

void ulm_history_init(struct ulm_history *history, size_t max_sessions, size_t max_exchanges)
{
    *history = (struct ulm_history){.max_sessions = max_sessions, .max_exchanges = max_exchanges};
}

/* Takes the session off the list. */
static void drop(struct ulm_history *history, struct ulm_history_session **link)
{
    struct ulm_history_session *session = *link;
    *link = session->next;
    session_free(session);
    history->n_sessions--;
}

static void drop_sessions_beyond(struct ulm_history *history, size_t max)
{
    struct ulm_history_session **link = &history->newest;
    for (size_t i = 0; *link && i < max; i++)
        link = &(*link)->next;
    while (*link)
        drop(history, link);
}

static size_t count_of(const struct ulm_history *history, uid_t uid)
{
    size_t n = 0;
    for (const struct ulm_history_session *s = history->newest; s; s = s->next)
        n += s->uid == uid;
    return n;
}

/* Room for one more. Of the user who has most, the oldest goes: nobody makes another's
 * conversations be forgotten by beginning many. */
static void make_room(struct ulm_history *history)
{
    struct ulm_history_session **victim = &history->newest;
    size_t most = 0, n = 0;
    uid_t counted = 0;
    if (history->n_sessions < history->max_sessions)
        return;
    for (struct ulm_history_session **link = victim; *link; link = &(*link)->next) {
        if (n == 0 || (*link)->uid != counted)
            n = count_of(history, counted = (*link)->uid);
        if (n >= most) {
            most = n;
            victim = link;
        }
    }
    if (*victim)
        drop(history, victim);
}

void ulm_history_deinit(struct ulm_history *history)
{
    drop_sessions_beyond(history, 0);
}

/* Keeps the newest exchanges that fit the bounds (the last one always does), question first. */
static void trim(const struct ulm_history *history, struct ulm_history_session *session)
{
    size_t max = 2 * history->max_exchanges;
    if (max > ULM_SESSION_TURNS_MAX - 2)
        max = ULM_SESSION_TURNS_MAX - 2;
    while (session->n_turns > max ||
           (session->n_turns > 2 && session->bytes > ULM_SESSION_BYTES_MAX) ||
           (session->n_turns > 2 && session->turns[0].role == ULM_ROLE_ASSISTANT))
        drop_oldest(session, 1);
}

void ulm_history_limit(struct ulm_history *history, size_t max_sessions, size_t max_exchanges)
{
    history->max_sessions = max_sessions;
    history->max_exchanges = max_exchanges;
    drop_sessions_beyond(history, max_exchanges > 0 ? max_sessions : 0);
    for (struct ulm_history_session *s = history->newest; s; s = s->next)
        trim(history, s);
}

/* Finds the session and makes it the newest. */
static struct ulm_history_session *find(struct ulm_history *history, uid_t uid, const char *name)
{
    for (struct ulm_history_session **link = &history->newest; *link; link = &(*link)->next) {
        struct ulm_history_session *session = *link;
        if (session->uid != uid || strcmp(session->name, name) != 0)
            continue;
        *link = session->next;
        session->next = history->newest;
        history->newest = session;
        return session;
    }
    return NULL;
}

int ulm_history_find(struct ulm_history *history, uid_t uid, const char *name,
                     const struct ulm_turn **ret_turns, size_t *ret_n)
{
    struct ulm_history_session *session = find(history, uid, name);
    if (!session)
        return 0;
    *ret_turns = session->turns;
    *ret_n = session->n_turns;
    return 1;
}

static int add_turn(const struct ulm_history *history, struct ulm_history_session *session,
                    enum ulm_role role, const char *content)
{
    trim(history, session);
    char *copy = strdup(content);
    if (!copy)
        return -ENOMEM;
    session->turns[session->n_turns++] = (struct ulm_turn){role, copy};
    session->bytes += strlen(copy);
    return 0;
}

static struct ulm_history_session *begin(struct ulm_history *history, uid_t uid, const char *name,
                                         const struct ulm_prompt *before)
{
    struct ulm_history_session *session = calloc(1, sizeof *session);
    if (!session)
        return NULL;
    session->uid = uid;
    strncpy(session->name, name, ULM_SESSION_NAME_MAX);
    for (size_t i = 0; i < before->n_history; i++) {
        if (add_turn(history, session, before->history[i].role, before->history[i].content) < 0) {
            session_free(session);
            return NULL;
        }
    }
    make_room(history);
    session->next = history->newest;
    history->newest = session;
    history->n_sessions++;
    return session;
}

int ulm_history_add(struct ulm_history *history, uid_t uid, const char *name,
                    const struct ulm_prompt *before, const char *answer)
{
    if (history->max_sessions == 0 || history->max_exchanges == 0)
        return 0;
    struct ulm_history_session *session = find(history, uid, name);
    if (!session)
        session = begin(history, uid, name, before);
    if (!session)
        return -ENOMEM;

    int r = add_turn(history, session, ULM_ROLE_USER, before->text);
    if (r < 0)
        return r;
    r = add_turn(history, session, ULM_ROLE_ASSISTANT, answer);
    if (r < 0) {
        /* A question without its answer would stand as if nobody had replied. */
        const struct ulm_turn *last = &session->turns[--session->n_turns];
        session->bytes -= strlen(last->content);
        forget_text(last->content);
        return r;
    }
    trim(history, session);
    return 0;
}

void ulm_history_forget(struct ulm_history *history, uid_t uid, const char *name)
{
    struct ulm_history_session *session = find(history, uid, name);
    if (!session)
        return;
    drop(history, &history->newest); /* found, it is the newest */
}
