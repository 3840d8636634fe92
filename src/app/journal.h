/* SPDX-License-Identifier: MIT */
/* Where log lines go: to the journal with their fields where stderr is the journal, else to stderr.
 */
#ifndef ULM_APP_JOURNAL_H
#define ULM_APP_JOURNAL_H

void ulm_journal_setup(void);

#endif
