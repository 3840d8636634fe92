/* SPDX-License-Identifier: MIT */
#ifndef ULM_UTIL_RELAX_H
#define ULM_UTIL_RELAX_H

/* One turn of a loop that waits for memory to change: leaves the core's other thread its share. */
static inline void ulm_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
