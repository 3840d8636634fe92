/* SPDX-License-Identifier: MIT */
/* The fixtures of tests/data/core: a script, a line ---, the log. Each is played whole, with the
 * cloud's text byte by byte, and with each of its texts split at each byte: the log is the same. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/core_world.h"
#include "tests/unit/unit.h"

static char *read_file(const char *path)
{
    static char text[64 * 1024];
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    return text;
}

struct replay {
    const char *name, *script, *log;
    int n_texts;
    size_t longest_text;
};

static void play(struct replay *replay, size_t chunk, int split_at, size_t split)
{
    struct world world;
    world_init(&world);
    world.chunk = chunk;
    world.split_at = split_at;
    world.split = split;
    world_run(&world, replay->script);
    const char *log = ulm_buf_str(&world.log);
    if (getenv("PRINT") && chunk == 0 && split_at < 0) {
        printf("==== %s\n%s", replay->name, log);
    } else if (strcmp(log, replay->log) != 0) {
        size_t same = 0;
        while (log[same] && log[same] == replay->log[same])
            same++;
        while (same > 0 && log[same - 1] != '\n')
            same--;
        ck_abort_msg("%s (chunks of %zu, text %d split at %zu):\nwanted %.300s\ngot    %.300s",
                     replay->name, chunk, split_at, split, replay->log + same, log + same);
    }
    ck_assert_msg(world_leaks() == 0, "%s: something is left open", replay->name);
    replay->n_texts = world.n_texts;
    replay->longest_text = world.longest_text;
    world_deinit(&world);
}

static void play_every_way(const char *dir, const char *name)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    char *script = read_file(path), *log = strstr(script, "\n---\n");
    ck_assert_msg(log != NULL, "%s: no line ---", name);
    log[1] = '\0';
    struct replay replay = {name, script, log + 5, 0, 0};
    play(&replay, 0, -1, 0);
    if (getenv("PRINT"))
        return;
    play(&replay, 1, -1, 0);
    for (int i = 0; i < replay.n_texts; i++) {
        for (size_t split = 1; split < replay.longest_text; split++)
            play(&replay, 0, i, split);
    }
}

START_TEST(test_fixtures)
{
    char dir[4096];
    snprintf(dir, sizeof dir, "%s/core", getenv("DATA"));
    DIR *entries = opendir(dir);
    ck_assert_msg(entries != NULL, "%s", dir);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (entry->d_name[0] == '.')
            continue;
        play_every_way(dir, entry->d_name);
        n++;
    }
    closedir(entries);
    ck_assert_int_gt(n, 0);
}
END_TEST

UNIT_MAIN("session", test_fixtures)
