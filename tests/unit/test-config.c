/* SPDX-License-Identifier: MIT */
/* The configuration: what is read, what is refused and how it is said. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/config_parts.h"
#include "util/buf.h"

static char reterr[ULM_CONFIG_ERROR_MAX];

static struct ulm_config *good(const char *text)
{
    struct ulm_config *config = NULL;
    int r = ulm_config_parse("t.conf", text, strlen(text), &config, reterr);
    ck_assert_msg(r == 0, "%s\n%s", text, reterr);
    return config;
}

static void bad(const char *text, const char *said)
{
    struct ulm_config *config = NULL;
    *reterr = '\0';
    int r = ulm_config_parse("t.conf", text, strlen(text), &config, reterr);
    ck_assert_msg(r == -EINVAL, "taken: %s", text);
    ck_assert_msg(strncmp(reterr, said, strlen(said)) == 0, "%s\nsaid: %s\nnot:  %s", text, reterr,
                  said);
    ck_assert_ptr_null(strchr(reterr, '\n'));
}

START_TEST(test_defaults)
{
    struct ulm_config *c = good("");
    ck_assert_ptr_null(c->socket);
    ck_assert_uint_eq(c->socket_mode, 0660);
    ck_assert_uint_eq(c->max_clients, 256);
    ck_assert_uint_eq(c->core.max_requests, 64);
    ck_assert_uint_eq(c->quota.connections + c->quota.requests + c->quota.tokens_per_minute, 0);
    ck_assert_int_eq(c->log_level, ULM_LOG_INFO);
    ck_assert(!c->log_text);
    ck_assert_ptr_null(c->engine.path);
    ck_assert_uint_eq(c->engine.context, 512);
    ck_assert_uint_eq(c->core.opener.min_words, 4);
    ck_assert_uint_eq(c->core.opener.max_words, 8);
    ck_assert(c->core.opener.guard && !c->core.opener.hold && !c->core.words_auto);
    ck_assert(c->core.ahead);
    ck_assert(isnan(c->core.min_confidence)); /* as the model file says */
    const struct ulm_model_info advice = {.min_confidence = -0.25};
    ulm_config_complete(c, &advice);
    ck_assert_double_eq(c->core.min_confidence, -0.25);
    struct ulm_config *off = good("[opener]\nmin_confidence = off\n");
    struct ulm_config *model = good("[opener]\nmin_confidence = model\n");
    ulm_config_complete(off, &advice);
    ulm_config_complete(model, NULL);
    ck_assert(isinf(off->core.min_confidence) && isinf(model->core.min_confidence));
    ulm_config_free(off);
    ulm_config_free(model);
    ck_assert_uint_eq(c->core.opener_wait_ms, 300);
    ck_assert_uint_eq(c->core.first_byte_ms, 4500);
    ck_assert_uint_eq(c->core.first_text_ms, 12000);
    ck_assert_uint_eq(c->core.thinking_ms, 2000);
    ck_assert_uint_eq(c->core.stalled_ms, 4000);
    ck_assert_uint_eq(c->core.idle_ms, 10000);
    ck_assert_uint_eq(c->core.total_ms, 30000);
    ck_assert(c->core.allow_pivot && c->core.allow_fix && c->core.allow_redo);
    ck_assert_str_eq(c->core.redo_phrase, ", sorry, let me start again. ");
    ck_assert_uint_eq(c->core.max_sessions, 32);
    ck_assert_uint_eq(c->core.session_turns, 6);
    ck_assert_uint_eq(c->n_endpoints, 0);
    ulm_config_free(c);
}
END_TEST

START_TEST(test_values)
{
    struct ulm_config *c = good(
        "# a comment\n; another\n\n[daemon]\n  socket = /run/x y.sock  \nsocket_mode=0600\n"
        "allow_uids = root, 1000 54321\nclient_requests: 3\nlog_level = debug\ndbus = no\n"
        "[model]\npath = models/a ; b.gguf\nthreads = 2\nsystem = Speak ; always # briefly\n"
        "[opener]\nmin_confidence = -1.5\nneutral = Well | Let me see ; then |  | So\n"
        "seed = 18446744073709551615\ntop_p = 0.9\nwords = auto\n"
        "[corrections]\nallow = pivot,fix\nredo_phrase = \" - wait, \"\nlength_close = \"\"\n");
    ck_assert_str_eq(c->socket, "/run/x y.sock");
    ck_assert_uint_eq(c->socket_mode, 0600);
    ck_assert_uint_eq(c->n_allow_uids, 3);
    ck_assert_uint_eq(c->allow_uids[0], 0);
    ck_assert_uint_eq(c->allow_uids[2], 54321);
    ck_assert_uint_eq(c->quota.requests, 3);
    ck_assert_int_eq(c->log_level, ULM_LOG_DEBUG);
    ck_assert_int_eq(c->dbus, ULM_BUS_NO);
    ck_assert_str_eq(c->engine.path, "models/a ; b.gguf");
    ck_assert_uint_eq(c->engine.threads, 2);
    ck_assert_str_eq(c->engine.system, "Speak ; always # briefly");
    ck_assert_double_eq(c->core.min_confidence, -1.5);
    ck_assert(!c->core.opener.hold && c->core.words_auto); /* core holds by min_confidence */
    ck_assert_uint_eq(c->core.n_neutral, 3);
    ck_assert_str_eq(c->core.neutral[1], "Let me see ; then");
    ck_assert_uint_eq(c->core.opener.seed, UINT64_MAX);
    ck_assert_double_eq(c->core.opener.top_p, 0.9);
    ck_assert(c->core.allow_pivot && c->core.allow_fix && !c->core.allow_redo);
    ck_assert_str_eq(c->core.redo_phrase, " - wait, ");
    ck_assert_str_eq(c->core.length_close, "");
    ulm_config_free(c);
}
END_TEST

START_TEST(test_endpoints)
{
    struct ulm_config *c = good("[cloud.second]\nurl = https://b.example/v1\nmodel = b\n"
                                "dialect = anthropic\nmode = prefill\n"
                                "extra_headers = X-A: 1 | X-B: two ; three\n"
                                "[cloud]\nurl = http://127.0.0.1:8080\nmodel = a\nhedge = yes\n");
    const char *later = "[cloud.second]\nmax_tokens = 77\n"; /* in another file it goes on */
    ck_assert_int_eq(ulm_config_read_text(c, "u.conf", later, strlen(later), reterr), 0);
    struct ulm_cloud_config cloud;
    ck_assert(ulm_config_cloud(c, &cloud));
    ck_assert_uint_eq(cloud.n_endpoints, 2);
    const struct ulm_endpoint_config *e = cloud.endpoints;
    ck_assert_str_eq(e[0].name, "second");
    ck_assert_int_eq(e[0].dialect, ULM_DIALECT_ANTHROPIC);
    ck_assert_int_eq(e[0].mode, ULM_CLOUD_PREFILL);
    ck_assert_uint_eq(e[0].max_tokens, 77);
    ck_assert_uint_eq(e[0].n_extra_headers, 2);
    ck_assert_str_eq(e[0].extra_headers[1], "X-B: two ; three");
    ck_assert_str_eq(e[1].name, "");
    ck_assert_int_eq(e[1].dialect, ULM_DIALECT_OPENAI_CHAT);
    ck_assert_uint_eq(e[1].max_tokens, 400);
    ck_assert(e[1].hedge && !e[0].hedge);
    ulm_config_free(c);
}
END_TEST

/* As long as a line may be, and one byte more; inih by itself ends a line near 200. */
START_TEST(test_long_lines)
{
    struct ulm_buf buf = ULM_BUF_INIT(3 * ULM_CONFIG_LINE_MAX);
    const char *head = "[model]\nsystem = ";
    ck_assert_int_eq(ulm_buf_add_str(&buf, head), 0);
    for (size_t i = strlen("system = "); i < ULM_CONFIG_LINE_MAX; i++)
        ck_assert_int_eq(ulm_buf_add(&buf, "x", 1), 0);
    ck_assert_int_eq(ulm_buf_add_str(&buf, "\ncontext = 600\n"), 0);
    struct ulm_config *c = good(buf.data);
    ck_assert_uint_eq(strlen(c->engine.system), ULM_CONFIG_LINE_MAX - strlen("system = "));
    ck_assert_uint_eq(c->engine.context, 600);
    ulm_config_free(c);

    ulm_buf_truncate(&buf, strlen(head) + ULM_CONFIG_LINE_MAX - strlen("system = "));
    ck_assert_int_eq(ulm_buf_add_str(&buf, "x\n"), 0);
    bad(buf.data, "t.conf:2: the line is longer than 4096 bytes");
    ulm_buf_deinit(&buf);
}
END_TEST

START_TEST(test_syntax)
{
    bad("socket = /x\n", "t.conf:1: socket: stands before the first [section]");
    bad("[daemon]\nsocket\n", "t.conf:2: is neither [section], key = value nor a comment");
    bad("[daemon\n", "t.conf:1: a section is [name], alone in its line");
    bad("[daemon] ; main\n", "t.conf:1: a section is [name], alone in its line");
    bad("\n[openr]\n", "t.conf:2: [openr]: no such section; allowed are daemon, model, opener,");
    bad("[opener]\n\nmin_wrods = 4\n", "t.conf:3: [opener] min_wrods: no such key; allowed are "
                                       "min_words max_words");
    bad("[cloud]\nkey = x\n", "t.conf:2: [cloud] key: no such key");
    bad("[opener]\n= 4\n", "t.conf:2: is no key");
    bad("[opener]\nmin_words;x = 4\n", "t.conf:2: is no key");
    bad("[opener]\n\xff = 4\n", "t.conf:2: the line is not UTF-8 text");
    bad("[cloud.]\n", "t.conf:1: [cloud.]: NAME in [cloud.NAME] must be");
    bad("[cloud.default]\n", "t.conf:1: [cloud.default]: NAME in [cloud.NAME] must be");
    bad("[cloud.../x]\n", "t.conf:1: [cloud.../x]: NAME in [cloud.NAME] must be");
    bad("[cloudy]\n", "t.conf:1: [cloudy]: no such section");
    bad("[cloud.a]\n[cloud]\n[opener]\n[cloud.a]\n",
        "t.conf:4: [cloud.a]: stands in this file already; another endpoint is [cloud.NAME]");
    bad("[cloud]\nurl = https://x\nmodel = m\n[cloud]\n", "t.conf:4: [cloud]: stands in this file");
}
END_TEST

START_TEST(test_ranges)
{
    static const struct {
        const char *section, *line, *said;
    } cases[] = {
        {"daemon", "socket =", "socket: must be a path"},
        {"daemon", "socket = \"/x\"", "socket: must be a path, without quotes"},
        {"daemon", "socket_mode = 9999", "socket_mode: must be an octal mode such as 0660"},
        {"daemon", "socket_mode = 7777", "socket_mode: must be an octal mode such as 0660"},
        {"daemon", "max_clients = 0", "max_clients: must be a whole number from 1 to 4096"},
        {"daemon", "max_clients = -1", "max_clients: must be a whole number from 1 to 4096"},
        {"daemon", "max_clients = 1e2", "max_clients: must be a whole number from 1 to 4096"},
        {"daemon", "max_clients = 5 x", "max_clients: must be a whole number from 1 to 4096"},
        {"daemon", "max_requests = 99999", "max_requests: must be a whole number from 1 to 1024"},
        {"daemon", "allow_uids = no_such_user", "allow_uids: must be up to 64 user names or"},
        {"daemon", "dbus = maybe", "dbus: must be system, session or no"},
        {"daemon", "log_level = loud", "log_level: must be error, warning, notice, info or debug"},
        {"daemon", "log_text = perhaps", "log_text: must be yes or no"},
        {"model", "path = \"my model.gguf\"", "path: must be a path, without quotes"},
        {"model", "kernels = \"auto\"",
         "kernels: must be auto, scalar, avx2, avx512, neon or dotprod, without quotes"},
        {"model", "context = \"600\"",
         "context: must be a whole number from 512 to 32768, without quotes"},
        {"model", "threads = 0", "threads: must be auto, or 1 to 64"},
        {"model", "kernels = sse9", "kernels: must be auto, scalar, avx2, avx512, neon or dotprod"},
        {"model", "context = 64", "context: must be a whole number from 512 to 32768"},
        {"opener", "max_words = 99", "max_words: must be a whole number from 1 to 16"},
        {"opener", "min_words = many", "min_words: must be a whole number from 1 to 16"},
        {"opener", "words = some", "words: must be fixed or auto"},
        {"opener", "min_confidence = 1",
         "min_confidence: must be model, off, or a mean log-probability"},
        {"opener", "min_confidence = nan", "min_confidence: must be model, off, or a mean"},
        {"opener", "temperature = -1", "temperature: must be a number from 0 to 10"},
        {"opener", "top_p = 0", "top_p: must be a number above 0, at most 1"},
        {"opener", "top_p = 1.5", "top_p: must be a number above 0, at most 1"},
        {"opener", "seed = -1", "seed: must be a whole number of 64 bits"},
        {"opener", "beam = 9", "beam: must be a whole number from 1 to 8"},
        {"cloud", "dialect = smoke-signals", "dialect: must be openai-chat, openai-responses,"},
        {"cloud", "url = ftp://x", "url: must be an http or https base URL without user"},
        {"cloud", "url = https://me:hunter2@x/v1", "url: must be an http or https base URL"},
        {"cloud", "url = https://", "url: must be an http or https base URL"},
        {"cloud", "url = \"https://x/v1\"",
         "url: must be an http or https base URL without user, query or fragment, without quotes"},
        {"cloud", "model = \"gpt\"", "model: must be a model's name, without quotes"},
        {"cloud", "mode = guess", "mode: must be instruct or prefill"},
        {"cloud", "max_tokens = 0", "max_tokens: must be a whole number from 1 to 100000"},
        {"cloud", "pinned_key = /etc/key", "pinned_key: must be sha256//... of public keys"},
        {"cloud", "pinned_key = sha256//AAAA", "pinned_key: must be sha256//... of public keys"},
        {"cloud", "extra_headers = X", "extra_headers: must be up to 16 of Name: value"},
        {"deadlines", "idle_ms = -1", "idle_ms: must be a whole number from 1 to 600000"},
        {"corrections", "allow = pivot,sing",
         "allow: must be some of pivot, fix and redo, or none"},
        {"sessions", "turns = 65", "turns: must be a whole number from 0 to 64"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256], said[256];
        snprintf(text, sizeof text, "[%s]\n# here\n%s\n", cases[i].section, cases[i].line);
        snprintf(said, sizeof said, "t.conf:3: [%s] %s", cases[i].section, cases[i].said);
        bad(text, said);
        ck_assert_ptr_null(strstr(reterr, "hunter2"));
    }
    bad("[opener]\n\nmin_words = 9\n", "t.conf:3: [opener] min_words: must not be above");
    bad("[opener]\nmin_words = 6\n\nmax_words = 5\n", "t.conf:4: [opener] min_words: must not be");
    bad("[daemon]\nsocket_group = no-such-group\n",
        "t.conf:2: [daemon] socket_group: must be a group of this system");
    bad("[cloud.a]\nmodel = m\n", "t.conf:1: [cloud.a] url: is missing");
    bad("[cloud]\nurl = https://x\n", "t.conf:1: [cloud] model: is missing");
}
END_TEST

/* Files */

static char dir[] = "/tmp/ulmd-test-config-XXXXXX";

static const char *write_file(const char *name, mode_t mode, const char *text)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
    ck_assert_int_eq(chmod(path, mode), 0);
    return path;
}

static void in_new_dir(void)
{
    strcpy(dir + sizeof dir - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    setenv("ULMD_DATADIR", dir, 1);
    unsetenv("CREDENTIALS_DIRECTORY");
    unsetenv("ULMD_CLOUD_KEY_FILE");
    write_file("continuator.txt", 0644, "tagged\n\n");
    write_file("continuator-plain.txt", 0644, "plain\n");
    write_file("answer.txt", 0644, "answer");
}

static void remove_dir(void)
{
    static const char *const names[] = {
        "continuator.txt", "continuator-plain.txt", "answer.txt",       "ulmd.conf", "key",
        "mine.txt",        "ulmd.cloud-key",        "ulmd.cloud-key.b", "pipe"};
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

static int load(const char *extra, struct ulm_config **ret)
{
    char text[1024], path[256];
    snprintf(text, sizeof text,
             "[cloud]\nurl = https://x/v1\nmodel = m\n%s\n"
             "[cloud.b]\nurl = https://y/v1\nmodel = n\n",
             extra);
    snprintf(path, sizeof path, "%s", write_file("ulmd.conf", 0644, text));
    return ulm_config_load(path, ret, reterr);
}

START_TEST(test_prompts)
{
    struct ulm_config *c;
    char line[300];
    in_new_dir();
    snprintf(line, sizeof line, "prompt_file = %s", write_file("mine.txt", 0644, "my own \n"));
    ck_assert_msg(load(line, &c) == 0, "%s", reterr);
    ck_assert_str_eq(c->endpoints[0].to.prompts[ULM_PROMPT_TAGGED], "my own");
    ck_assert_str_eq(c->endpoints[0].to.prompts[ULM_PROMPT_PLAIN], "plain");
    ck_assert_str_eq(c->endpoints[1].to.prompts[ULM_PROMPT_TAGGED], "tagged");
    ck_assert_str_eq(c->endpoints[1].to.prompts[ULM_PROMPT_ANSWER], "answer");
    ulm_config_free(c);
    ck_assert_int_lt(load("prompt_file = /nonexistent/x", &c), 0);
    ck_assert_ptr_nonnull(strstr(reterr, "ulmd.conf:4: [cloud] prompt_file: /nonexistent/x: No"));
    /* Nobody waits for somebody to write into a pipe. */
    char pipe[256];
    snprintf(pipe, sizeof pipe, "%s", write_file("pipe", 0644, ""));
    ck_assert(unlink(pipe) == 0 && mkfifo(pipe, 0644) == 0);
    snprintf(line, sizeof line, "prompt_file = %s", pipe);
    ck_assert_int_eq(load(line, &c), -EINVAL);
    remove_dir();
}
END_TEST

START_TEST(test_keys)
{
    struct ulm_config *c;
    char line[300];
    in_new_dir();
    ck_assert_int_eq(load("", &c), 0); /* none is a start */
    ck_assert_ptr_null(c->endpoints[0].to.key);
    ulm_config_free(c);

    snprintf(line, sizeof line, "key_file = %s", write_file("key", 0600, "sk-planted \n"));
    ck_assert_int_eq(load(line, &c), 0);
    ck_assert_str_eq(c->endpoints[0].to.key, "sk-planted");
    ck_assert_ptr_null(c->endpoints[1].to.key);
    ulm_config_wipe_keys(c);
    ck_assert_ptr_null(c->endpoints[0].to.key);
    ulm_config_free(c);

    static const mode_t modes[] = {0640, 0604, 0620, 0644};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        write_file("key", modes[i], "sk-planted\n");
        ck_assert_int_lt(load(line, &c), 0);
        ck_assert_ptr_nonnull(strstr(reterr, "ulmd.conf:4: [cloud] key_file: "));
        ck_assert_ptr_nonnull(strstr(reterr, ": others than its owner"));
    }
    static const char *const texts[] = {"", "\n\n", "sk planted\n", "sk\nplanted\n", "sk-\x01\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_file("key", 0600, texts[i]);
        ck_assert_int_lt(load(line, &c), 0);
        ck_assert_ptr_null(strstr(reterr, "planted"));
    }
    ck_assert_int_lt(load("key_file = /nonexistent/key", &c), 0);
    ck_assert_ptr_nonnull(strstr(reterr, "ulmd.conf:4: [cloud] key_file: /nonexistent/key: No"));

    /* Credentials come first; the environment names a file for [cloud] alone. */
    setenv("ULMD_CLOUD_KEY_FILE", write_file("key", 0600, "sk-environment"), 1);
    ck_assert_int_eq(load("", &c), 0);
    ck_assert_str_eq(c->endpoints[0].to.key, "sk-environment");
    ck_assert_ptr_null(c->endpoints[1].to.key);
    ulm_config_free(c);
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    write_file("ulmd.cloud-key.b", 0440, "sk-b\n");
    write_file("ulmd.cloud-key", 0440, "sk-credential\n");
    ck_assert_int_eq(load(line, &c), 0);
    ck_assert_str_eq(c->endpoints[0].to.key, "sk-credential");
    ck_assert_str_eq(c->endpoints[1].to.key, "sk-b");
    ulm_config_free(c);
    unsetenv("CREDENTIALS_DIRECTORY");
    unsetenv("ULMD_CLOUD_KEY_FILE");
    remove_dir();
}
END_TEST

START_TEST(test_restart)
{
    struct ulm_config *a = good("[model]\npath = a\n"), *b = good("[model]\npath = b\n"),
                      *c = good("[model]\npath = a\n[daemon]\nlog_level = debug\n"),
                      *d = good("[model]\npath = a\nthreads = 2\n"
                                "[daemon]\nsocket = /x\ndbus = no\n");
    char keys[ULM_CONFIG_ERROR_MAX];
    ck_assert(ulm_config_needs_restart(a, b, keys));
    ck_assert_str_eq(keys, "[model] path");
    ck_assert(!ulm_config_needs_restart(a, c, keys));
    ck_assert(ulm_config_needs_restart(a, d, keys));
    ck_assert_str_eq(keys, "[daemon] socket, [daemon] dbus, [model] threads");
    d->socket_mode = 0600; /* all of them have room */
    d->socket_group = d->engine.cores = d->engine.kernels = d->engine.path = d->engine.system = "x";
    d->log_text = true;
    d->engine.context = 600;
    ck_assert(ulm_config_needs_restart(a, d, keys));
    ck_assert_str_eq(strrchr(keys, '['), "[model] system");
    ulm_config_free(a);
    ulm_config_free(b);
    ulm_config_free(c);
    ulm_config_free(d);
}
END_TEST

static struct ulm_buf warnings = ULM_BUF_INIT(4096);

static void keep_warning(enum ulm_log_level level, uint64_t request, const char *line)
{
    ck_assert_int_eq(level, ULM_LOG_WARNING);
    ck_assert_int_eq(ulm_buf_add_fmt(&warnings, "%s\n", line), 0);
}

static void warned(const char *text, unsigned trained, const char *lines)
{
    struct ulm_config *c = good(text);
    const struct ulm_model_info info = {.trained = trained};
    ulm_log_set_sink(keep_warning);
    ulm_buf_truncate(&warnings, 0);
    int n = ulm_config_complete(c, trained ? &info : NULL);
    ulm_log_set_sink(NULL);
    ck_assert_str_eq(warnings.len > 0 ? ulm_buf_str(&warnings) : "", lines);
    ck_assert_int_eq(n, *lines != '\0');
    ulm_config_free(c);
}

#define CLOUD_URL(url_) "[cloud.x]\nmodel = m\nurl = https://x" url_ "\n"

START_TEST(test_warnings)
{
    char text[256], line[512];
    warned("", 0, "no question can be answered: neither path in [model] nor url and model in "
                  "[cloud] are set\n");
    warned("[model]\npath = m\n", 512, "");
    warned(CLOUD_URL("/v1"), 0, "");
    warned(CLOUD_URL("/responses/v1/"), 0, "");
    warned(CLOUD_URL("/v1/chat/completions"), 0,
           "t.conf:3: [cloud.x] url: ends in /chat/completions, which a dialect appends by "
           "itself\n");
    warned(CLOUD_URL("/v1/responses/"), 0,
           "t.conf:3: [cloud.x] url: ends in /responses, which a dialect appends by itself\n");
    warned(CLOUD_URL("/messages"), 0,
           "t.conf:3: [cloud.x] url: ends in /messages, which a dialect appends by itself\n");
    warned("[model]\npath = m\ncontext = 4096\n", 512,
           "t.conf:3: [model] context: 4096 is more than the model's own 512; beyond it "
           "understands less\n");
    warned("[model]\npath = m\ncontext = 512\n", 512, "");

    in_new_dir();
    snprintf(text, sizeof text, "[model]\npath = m\n[daemon]\nstate_dir = %s\n", dir);
    warned(text, 512, "");
    snprintf(text, sizeof text, "[model]\npath = m\n[daemon]\nstate_dir = %s/none\n", dir);
    snprintf(line, sizeof line,
             "t.conf:4: [daemon] state_dir: %s/none: No such file or directory; what is learnt "
             "about the cloud is not kept\n", dir);
    warned(text, 512, line);
    const char *file = write_file("key", 0600, "x");
    snprintf(text, sizeof text, "[model]\npath = m\n[daemon]\nstate_dir = %s\n", file);
    snprintf(line, sizeof line,
             "t.conf:4: [daemon] state_dir: %s: Not a directory; what is learnt about the cloud is "
             "not kept\n", file);
    warned(text, 512, line);
    remove_dir();
    ulm_buf_deinit(&warnings);
}
END_TEST

/* The shipped file changes nothing, and with its comments taken off it says the defaults. */
START_TEST(test_shipped)
{
    char path[512];
    snprintf(path, sizeof path, "%s/../../conf/ulmd.conf", getenv("DATA"));
    FILE *file = fopen(path, "r");
    static char text[64 * 1024];
    static char bare[64 * 1024];
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    struct ulm_config *plain = good(""), *shipped = good(text);
    ck_assert_int_eq(memcmp(&plain->core.opener, &shipped->core.opener, sizeof plain->core.opener),
                     0);
    ck_assert_uint_eq(shipped->n_endpoints, 0);
    ulm_config_free(shipped);

    /* `;key =` without a value shows what there is, not a value to set. */
    size_t len = 0;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n") + 1;
        bool empty = n > 2 && p[0] == ';' && p[n - 2] == '=';
        bool group = strncmp(p, ";socket_group", 13) == 0; /* it need not exist here */
        const char *from = *p == ';' ? p + 1 : p;
        if (!empty && !group) {
            memcpy(bare + len, from, (size_t)(p + n - from));
            len += (size_t)(p + n - from);
        }
        p += n;
    }
    bare[len] = '\0';
    shipped = good(bare);
    ck_assert_uint_eq(shipped->n_endpoints, 1);
    ck_assert_uint_eq(shipped->endpoints[0].to.keepalive_s, 90);
    ck_assert_uint_eq(shipped->endpoints[0].to.max_tokens, 400);
    ck_assert_int_eq(memcmp(&plain->core.opener, &shipped->core.opener, sizeof plain->core.opener),
                     0);
    ck_assert_uint_eq(plain->core.opener_wait_ms, shipped->core.opener_wait_ms);
    ck_assert_uint_eq(plain->core.first_byte_ms, shipped->core.first_byte_ms);
    ck_assert_uint_eq(plain->core.first_text_ms, shipped->core.first_text_ms);
    ck_assert_uint_eq(plain->core.thinking_ms, shipped->core.thinking_ms);
    ck_assert_uint_eq(plain->core.stalled_ms, shipped->core.stalled_ms);
    ck_assert_uint_eq(plain->core.idle_ms, shipped->core.idle_ms);
    ck_assert_uint_eq(plain->core.total_ms, shipped->core.total_ms);
    ck_assert_str_eq(plain->core.redo_phrase, shipped->core.redo_phrase);
    ck_assert_str_eq(plain->core.local_close, shipped->core.local_close);
    ck_assert_str_eq(plain->core.failed_close, shipped->core.failed_close);
    ck_assert_str_eq(plain->core.refused_close, shipped->core.refused_close);
    ck_assert_uint_eq(plain->core.max_sessions, shipped->core.max_sessions);
    ck_assert_uint_eq(plain->core.session_turns, shipped->core.session_turns);
    ck_assert_uint_eq(plain->max_clients, shipped->max_clients);
    ck_assert_uint_eq(plain->core.max_requests, shipped->core.max_requests);
    ck_assert_uint_eq(plain->socket_mode, shipped->socket_mode);
    ck_assert_int_eq(memcmp(&plain->quota, &shipped->quota, sizeof plain->quota), 0);
    ck_assert_int_eq(plain->dbus, shipped->dbus);
    ck_assert_int_eq(plain->log_level, shipped->log_level);
    ck_assert_int_eq(plain->log_text, shipped->log_text);
    ck_assert_uint_eq(plain->engine.threads, shipped->engine.threads);
    ck_assert_str_eq(plain->engine.cores, shipped->engine.cores);
    ck_assert_str_eq(plain->engine.kernels, shipped->engine.kernels);
    ck_assert_uint_eq(plain->engine.context, shipped->engine.context);
    ck_assert(isnan(plain->core.min_confidence) && isnan(shipped->core.min_confidence));
    ck_assert(shipped->core.allow_pivot && shipped->core.allow_fix && shipped->core.allow_redo);
    ulm_config_free(shipped);
    /* the endpoint's defaults, which a plain one has */
    struct ulm_config *cloud = good("[cloud]\nurl = https://x\nmodel = m\n");
    const struct ulm_endpoint_config *to = &cloud->endpoints[0].to;
    ck_assert(!to->allow_http && !to->hedge && to->mode == ULM_CLOUD_INSTRUCT);
    ck_assert_int_eq(to->dialect, ULM_DIALECT_OPENAI_CHAT);
    ulm_config_free(cloud);
    ulm_config_free(plain);
}
END_TEST

UNIT_MAIN("config", test_defaults, test_values, test_endpoints, test_long_lines, test_syntax,
          test_ranges, test_prompts, test_keys, test_restart, test_warnings, test_shipped)
