/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target once on each file of the folders given, and on each input of the packs: a pack
 * is the inputs one behind the other, each behind a line that says how many bytes it has. None at
 * all is a failure. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

/* Exactly as large as the input, so that valgrind and ASan see an over-read. */
static void run_input(FILE *file, size_t size)
{
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (!data || fread(data, 1, size, file) != size)
        exit(EXIT_FAILURE);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

static int run_pack(FILE *file)
{
    size_t size;
    int runs = 0;
    for (; fscanf(file, "%zu%*1[\n]", &size) == 1; runs++)
        run_input(file, size);
    return runs;
}

static int run_file(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    long size = ftell(file);
    rewind(file);
    run_input(file, (size_t)size);
    (void)fclose(file);
    return 1;
}

int main(int argc, char **argv)
{
    int runs = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        FILE *pack = dir ? NULL : fopen(argv[i], "rb");
        if (pack) {
            runs += run_pack(pack);
            (void)fclose(pack);
            continue;
        }
        if (!dir) {
            perror(argv[i]);
            return EXIT_FAILURE;
        }
        for (struct dirent *entry; (entry = readdir(dir));) {
            if (entry->d_name[0] != '.')
                runs += run_file(argv[i], entry->d_name);
        }
        closedir(dir);
    }
    printf("%d inputs\n", runs);
    return runs > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
