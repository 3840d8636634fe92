/* SPDX-License-Identifier: MIT */
/*
 * libulmd-client: ask ulmd a question and receive the answer as it is written. (Installed.)
 *
 * In an event loop:
 *
 *     ulm_client_connect(NULL, &client);
 *     ulm_client_set_handler(client, on_event, data);
 *     ulm_client_ask(client, &ask); (a struct ulm_client_ask begun with ULM_CLIENT_ASK_INIT)
 *     do
 *         poll() for ulm_client_events(client) on ulm_client_fd(client)
 *     while (ulm_client_dispatch(client) == 0);
 *     client = ulm_client_free(client);
 *
 * or, where waiting is no harm, ulm_client_answer(). Results are 0, a negative errno, or a positive
 * outcome named at the function. A client belongs to one thread at a time. Strings given are
 * copied. Strings received are valid UTF-8, NUL-terminated and without U+0000. Characters are code
 * points.
 */
#ifndef ULMD_CLIENT_H
#define ULMD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ulm_client;

/* Connection. */

/* Connects to the socket at `path`. NULL: $ULMD_SOCKET; where that is not set or empty,
 * /run/ulmd/ulmd.sock, else $XDG_RUNTIME_DIR/ulmd.sock. Waits no longer than five seconds.
 * -ENOENT, -ECONNREFUSED: no daemon; -EACCES: not allowed. */
int ulm_client_connect(const char *path, struct ulm_client **ret_client);

/* The same over a connected stream socket. The fd belongs to the client on success alone. */
int ulm_client_from_fd(int fd, struct ulm_client **ret_client);

/* Closes the connection; the daemon cancels what was open. NULL is allowed. Returns NULL. Not from
 * inside a handler. */
struct ulm_client *ulm_client_free(struct ulm_client *client);

/* What to poll: the fd stays the same, the POLLIN | POLLOUT mask is to be asked before each poll.
 */
int ulm_client_fd(const struct ulm_client *client);
short ulm_client_events(const struct ulm_client *client);

/* Writes what is queued, reads what is there, calls the handler for each event. Never waits.
 * 0; 1: the daemon closed the connection, and every event was handed out; -EPROTO, -EMSGSIZE: not
 * what ulmd writes; another negative errno: the connection broke. After anything but 0 only
 * ulm_client_free is of use, and each later call gives the same result. -EBUSY from a handler. */
int ulm_client_dispatch(struct ulm_client *client);

/* One poll of at most timeout_ms (-1 = no limit), then ulm_client_dispatch. As it; -ETIMEDOUT when
 * nothing came; -EINTR when a signal did. */
int ulm_client_wait(struct ulm_client *client, int timeout_ms);

/* Events. */

enum ulm_client_event_type {
    ULM_CLIENT_UNKNOWN, /* of a newer daemon: ignore, or read `line` */
    ULM_CLIENT_OPENER,  /* append `text` */
    ULM_CLIENT_OPENED,  /* the opener is complete: `text`, `words`, `confidence` */
    ULM_CLIENT_REPAIR,  /* `strategy`; [from, to) of the answer may be restyled */
    ULM_CLIENT_RETRACT, /* delete `chars` characters from the end */
    ULM_CLIENT_DELTA,   /* append `text` */
    ULM_CLIENT_NOTICE,  /* `code`: "thinking", "stalled", "offline", "retrying" */
    ULM_CLIENT_DONE,    /* terminal: `reason`, `source`, `verdict`, `text`, `timing`, tokens */
    ULM_CLIENT_ERROR,   /* `code`, `message`; terminal for the open request that is `id`, or that is
                           `ref` and had no event yet: then it was refused */
    ULM_CLIENT_HELLO,   /* read `line` */
    ULM_CLIENT_STATUS,  /* read `line` */
    ULM_CLIENT_OK,      /* `op` is done */
};

/* Milliseconds from the daemon's receipt of the ask; -1 = it did not happen. */
struct ulm_client_timing {
    double first_word, opener, cloud_sent, cloud_first_byte, cloud_first_text, total, gap;
};

/* Everything is borrowed for the length of the handler's call. Members an event does not have are
 * NULL, 0 or -1. The structure grows at its end only. */
struct ulm_client_event {
    enum ulm_client_event_type type;
    const char *name; /* as on the wire */
    const char *id;   /* the request it belongs to, or NULL */
    const char *ref;  /* error: the id that was wrong, or NULL */
    const char *text; /* opener, delta: to append; opened: the opener; done: the answer */
    const char *answer; /* assembled up to and with this event; NULL = of no request of ours */
    const char *code;   /* notice, error */
    const char *message;                 /* error: a line for a developer */
    const char *op;                      /* ok */
    const char *strategy;                /* repair: "pivot", "fix", "redo" */
    const char *reason;                  /* done */
    const char *source;                  /* done: "local", "cloud", "mixed" */
    const char *verdict;                 /* done: "ok", "pivot", "fix", "redo", or NULL */
    double confidence;                   /* opened: mean natural-log probability per token, <= 0 */
    unsigned words;                      /* opened */
    size_t from, to;                     /* repair */
    size_t chars;                        /* retract */
    struct ulm_client_timing timing;     /* done */
    int64_t input_tokens, output_tokens; /* done; -1 = not told */
    const char *line;                    /* the event as JSON, without its LF */
    size_t line_len;
};

/* The handler may send requests; it may not dispatch, wait or free. */
typedef void ulm_client_handler(void *data, const struct ulm_client_event *event);

void ulm_client_set_handler(struct ulm_client *client, ulm_client_handler *handler, void *data);

/* Requests. They are queued; dispatch writes them. -EINVAL: an id that is missing, too long or
 * still open; -EILSEQ: a text that is not UTF-8; -EMSGSIZE: more than the wire carries;
 * -ENOBUFS: the daemon does not read; -ENOMEM. On failure nothing was queued. */

struct ulm_client_turn {
    const char *role; /* "user" or "assistant" */
    const char *content;
};

struct ulm_client_ask {
    size_t size;                /* of this structure: ULM_CLIENT_ASK_INIT */
    const char *id;             /* 1..64 bytes, yours to choose; unique among the open ones */
    const char *text;           /* the question */
    const char *session;        /* or NULL */
    const char *medium;         /* "display", "speech", or NULL */
    int retractable;            /* 1 = yes, -1 = no, 0 = by medium */
    const char *const *context; /* [n_context] facts from the device */
    size_t n_context;
    const struct ulm_client_turn *history; /* [n_history], oldest first; NULL = none given */
    size_t n_history;
    unsigned min_words, max_words; /* 0 = as configured */
    unsigned deadline_ms;          /* 0 = as configured */
};

#define ULM_CLIENT_ASK_INIT .size = sizeof(struct ulm_client_ask)

int ulm_client_ask(struct ulm_client *client, const struct ulm_client_ask *ask);

/* The partial transcript of the ask that will follow under the same id. */
int ulm_client_draft(struct ulm_client *client, const struct ulm_client_ask *ask);

/* A speech client: how many words of the opener were heard so far. */
int ulm_client_played(struct ulm_client *client, const char *id, unsigned words);

/* The terminal event still comes, with the reason "cancelled". */
int ulm_client_cancel(struct ulm_client *client, const char *id);

int ulm_client_reset(struct ulm_client *client, const char *session);

/* Answered by an event of the same name; id may be NULL. */
int ulm_client_hello(struct ulm_client *client, const char *id);
/* format: NULL, or "prometheus": the member `prometheus` of `line` is that text. */
int ulm_client_status(struct ulm_client *client, const char *id, const char *format);

/* Waiting. */

struct ulm_client_answer {
    char *text;    /* the whole answer; "" with an error */
    char *reason;  /* or NULL with an error */
    char *source;  /* or NULL */
    char *verdict; /* or NULL */
    char *code;    /* of an error, or NULL */
    char *message; /* of an error, or NULL */
    struct ulm_client_timing timing;
    int64_t input_tokens, output_tokens;
};

/* Asks and waits for the terminal event, at most timeout_ms (-1 = as long as the daemon takes). The
 * handler sees every event meanwhile. 0: answered; 1: refused with `code`, an answer is returned
 * too; -ETIMEDOUT: the request was cancelled; -ECONNRESET: the daemon went away before the end. */
int ulm_client_answer(struct ulm_client *client, const struct ulm_client_ask *ask, int timeout_ms,
                      struct ulm_client_answer **ret_answer);

/* NULL is allowed. Returns NULL. */
struct ulm_client_answer *ulm_client_answer_free(struct ulm_client_answer *answer);

#ifdef __cplusplus
}
#endif

#endif
