/* SPDX-License-Identifier: MIT */
/* How speech at 150 words a minute keeps up with the words that come. */
#ifndef ULM_CORE_PACE_H
#define ULM_CORE_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define ULM_PACE_WORD_US 400000 /* 150 words a minute */

/* An opener that lasts as long as the median would leave half of the turns with a gap; latencies of
 * clouds spread so far that this much more covers nine of ten (bench/gap). */
#define ULM_PACE_HEADROOM 1.75

struct ulm_pace {
    bool begun;
    bool inside;      /* the last character was inside a word */
    int64_t heard_us; /* when all that was said has been heard */
    int64_t gap_us;   /* silence between the first word and the last */
};

/* Text that can be spoken from now on. A character of a script without spaces is half a word. */
void ulm_pace_say(struct ulm_pace *pace, const char *text, int64_t now_us);
/* What was not heard yet is taken back. */
void ulm_pace_retract(struct ulm_pace *pace, int64_t now_us);

/* How many words of an opener bridge the cloud's time to first text, of which this is the median:
 * min..max; max where it is not known (0). */
unsigned ulm_pace_words(double first_text_ms, unsigned min_words, unsigned max_words);

#endif
