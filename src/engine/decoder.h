/* SPDX-License-Identifier: MIT */
/*
 * One model with its sequences, run on one thread: prefill with reuse, openers, endings.
 *
 * A few KV slots keep the latest requests. A prompt takes the slot of its ticket, or the one that
 * was used longest ago, and starts from the longest beginning that any slot already holds; so an
 * ask that equals its last draft runs one token before its first word. The head of all prompts
 * (the system turn) is held in a slot that nothing overwrites.
 */
#ifndef ULM_ENGINE_DECODER_H
#define ULM_ENGINE_DECODER_H

#include <stdbool.h>
#include <stdint.h>

#include <ulmd/engine.h>

#include "engine/model.h"

struct ulm_decoder;

/* Opens, checks and warms everything the config names; its callbacks are not used here.
 * 0; else one line of reason: <0 errno, ULM_ENGINE_SYSTEM. */
int ulm_decoder_new(const struct ulm_engine_config *config, struct ulm_decoder **ret_decoder,
                    char *reterr, size_t reterr_size);
struct ulm_decoder *ulm_decoder_free(struct ulm_decoder *decoder);
const struct ulm_model_info *ulm_decoder_info(const struct ulm_decoder *decoder);

/* After a job: no text of its request stays here; its token ids do, for the next one's reuse. */
void ulm_decoder_forget(struct ulm_decoder *decoder);

/* Binds the calling thread, which is the one to run the jobs, to the configured cores. */
void ulm_decoder_bind(const struct ulm_decoder *decoder);

/* Tokens run since the start. Any thread. */
uint64_t ulm_decoder_progress(const struct ulm_decoder *decoder);

/* How a job is watched while it runs; all on the calling thread. */
struct ulm_watch {
    bool (*stop)(void *data); /* asked before each chunk of tokens; true ends the job */
    void (*word)(void *data, const char *text, size_t len); /* a word with its leading space */
    void (*ready)(void *data); /* the prompt is in the cache, decoding starts; or NULL */
    void *data;
    bool (*late)(void *data); /* no time for a second look? or NULL: there always is */
};

struct ulm_outcome {
    char text[ULM_OPENER_MAX + 1];
    unsigned words;
    double confidence; /* mean natural-log probability of the chosen tokens, <= 0 */
    bool neutral;      /* text is one of the model file, instead of the opener */
    unsigned guard_hits;
    bool prompt_shortened;
    unsigned prompt_tokens, reused_tokens, generated_tokens;
};

/* 0, ULM_STOPPED (watch.stop said so; what is in the cache stays useful), <0 errno:
 * -E2BIG prompt beyond limits.h, -EDOM the model computes no finite numbers, -ENOMEM. */
enum {
    ULM_STOPPED = 1,
};

int ulm_decoder_draft(struct ulm_decoder *decoder, uint64_t ticket, const struct ulm_prompt *prompt,
                      const struct ulm_watch *watch);
int ulm_decoder_opener(struct ulm_decoder *decoder, uint64_t ticket,
                       const struct ulm_prompt *prompt, const struct ulm_opener_options *options,
                       const struct ulm_watch *watch, struct ulm_outcome *ret);
int ulm_decoder_finish(struct ulm_decoder *decoder, uint64_t ticket,
                       const struct ulm_prompt *prompt, const char *opener,
                       const struct ulm_opener_options *options, const struct ulm_watch *watch,
                       struct ulm_outcome *ret);

#endif
