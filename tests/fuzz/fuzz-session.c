/* SPDX-License-Identifier: MIT */
/* Each byte is a line of the world's script, in any order: the world checks the invariants of
 * every answer, and in the end every ask has had its one terminal event. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/core_world.h"

static const char *const lines[] = {
    /* clang-format off */
    "ask a x", "ask b x session=s", "ask c x session=s speech", "ask a x sink=1 deadline=900",
    "ask d x session=s history=h", "draft a x", "draft b x session=s", "draft e x sink=1",
    "played a 2", "played c 1", "cancel a", "cancel b", "cancel e sink=1", "reset s", "gone sink=1",
    "word \"Well,\"", "word \" it is\"", "opened \"Well, it is\" -0.2", "opened \"\" -3", "failed",
    "opened \"All done.\" -9", "finished \" so.\" -0.2", "finished \"\" -0.2", "open tagged",
    "open plain", "open answer", "open prefill", "retry", "refusal", "text \"[[ok]] \"",
    "text \"[[fi\"", "text \"x]]\"", "text \"[[redo]]\\n\"", "text \"Well, it is\"", "text \" so\"",
    "text \"```\"", "text \"'s\"", "text \", no. \"", "text \"\\xE6\"", "text \"\\x9D\\xB1\"",
    "end complete", "end length 3 4", "end refused", "end truncated", "end failed", "wait 1",
    "wait 300", "wait 4000", "wait 11000", "back 0", "back 1", "back 2", "cloud", "cloud new",
    "refuse jobs", "refuse transfers", "shutdown",
    /* clang-format on */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char script[64 * 64] = "";
    struct world world;
    strcpy(script, size & 1 ? "config max_requests=2 min_confidence=-1 neutral=\"Hm,\"\n" : "");
    for (size_t i = 0; i < size && i < 60; i++)
        strcat(strcat(script, lines[data[i] % (sizeof lines / sizeof *lines)]), "\n");
    world_init(&world);
    world_run(&world, strcat(script, "cloud new\nshutdown\n"));
    if (world_leaks() > 0 || ulm_core_running(world.core) > 0)
        abort();
    world_deinit(&world);
    return 0;
}
