/* SPDX-License-Identifier: MIT */
/* Every cap of the program in one place, so that memory is bounded by design. */
#ifndef ULMD_LIMITS_H
#define ULMD_LIMITS_H

#include <assert.h>

/* The wire. Sizes are bytes unless the name says otherwise. */
#define ULM_LINE_MAX         (64u * 1024)  /* one request line, without its LF */
#define ULM_JSON_DEPTH_MAX   32u           /* nesting of any JSON read, from clients and providers */
#define ULM_JSON_VALUES_MAX  (32u * 1024)  /* values of any JSON read: each takes memory of its own */
#define ULM_JSON_NUMBER_MAX  63u           /* characters of a number: what cJSON reads as one */
#define ULM_ID_MAX           64u           /* request id */
#define ULM_SESSION_NAME_MAX 64u           /* session name */
#define ULM_INPUT_MAX        (16u * 1024)  /* text + context + history of one request together */
#define ULM_FACTS_MAX        32u           /* entries of `context` */
#define ULM_TURNS_MAX        64u           /* entries of `history`, and turns kept for a session */
#define ULM_OUTPUT_QUEUE_MAX (1024u * 1024) /* unsent events of one slow reader */

/* A session's history: the newest exchanges within all of these bounds. */
#define ULM_SESSION_TURNS_MAX 66u /* questions and answers together, two of them while one is added */
#define ULM_SESSION_BYTES_MAX (96u * 1024)

/* The opener. */
#define ULM_WORDS_MAX        16u  /* highest max_words that may be configured or asked */
#define ULM_OPENER_MAX       512u /* opener text */
#define ULM_FINISH_MAX       512u /* the end of a sentence finished on the device */
#define ULM_BEAM_MAX         8u
#define ULM_NEUTRAL_MAX      32u  /* neutral texts of a model file */

/* The cloud. */
#define ULM_ANSWER_MAX     (64u * 1024)   /* answer text: more ends it as truncated */
#define ULM_SSE_LINE_MAX   (256u * 1024)
#define ULM_SSE_EVENT_MAX  (1024u * 1024) /* the data of one event, or one NDJSON line */
#define ULM_ERROR_BODY_MAX (64u * 1024)   /* read of a response that is no stream */
#define ULM_STREAM_MAX     (16u * 1024 * 1024) /* all bytes of one streamed response, decoded */
#define ULM_PROMPT_MAX     (16u * 1024)   /* a continuator prompt text */
#define ULM_ENDPOINTS_MAX  8u
#define ULM_KEY_MAX        4096u

/* Verdict and stitch hold back no more than this (cloud.md 2.3, 2.4). */
#define ULM_TAG_MAX       16u                    /* the longest held tag, brackets included */
#define ULM_ECHO_HOLD_MAX (ULM_OPENER_MAX + 16u) /* while text still equals the opener */

/* Configuration. */
#define ULM_CONFIG_LINE_MAX 4096u
#define ULM_CLIENTS_MAX     4096u /* highest max_clients */
#define ULM_REQUESTS_MAX    1024u /* highest max_requests */

static_assert(ULM_INPUT_MAX < ULM_LINE_MAX, "a legal request fits its line");
static_assert(ULM_JSON_VALUES_MAX >= ULM_LINE_MAX / 2, "no request line has more values");
static_assert(ULM_OUTPUT_QUEUE_MAX >= 6 * ULM_ANSWER_MAX + ULM_LINE_MAX,
              "a `done` with every character escaped fits an empty queue");
static_assert(ULM_SESSION_TURNS_MAX == ULM_TURNS_MAX + 2, "a session's turns are a legal history");
static_assert(ULM_SESSION_BYTES_MAX >= ULM_INPUT_MAX + ULM_ANSWER_MAX, "one exchange always fits");
static_assert(ULM_ERROR_BODY_MAX <= ULM_SSE_EVENT_MAX, "an error body is no longer than an event");

#endif
