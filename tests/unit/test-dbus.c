/* SPDX-License-Identifier: MIT */
/*
 * The D-Bus front on a private bus, with two callers and a core that does as the test says. All run
 * on one thread: turn() gives each its turn.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>
#include <uv.h>

#include <ulmd/session.h>

#include "front/dbus.h"
#include "front/peer.h"
#include "tests/unit/unit.h"
#include "util/buf.h"

/* The core: what it was told, as lines; and what it is to emit at the next ask. */

static struct ulm_core {
    char log[8192];
    struct ulm_sink *sinks[8]; /* of each ask, in order */
    size_t n_sinks, n_gone;
    const struct ulm_event *at_ask; /* emitted from inside ulm_core_ask */
    const char *at_ask_id;
    const struct ulm_event *at_call; /* emitted without id from inside played, cancel and draft */
} the_core;

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    size_t len = strlen(the_core.log);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(the_core.log + len, sizeof the_core.log - len, format, args);
    va_end(args);
}

static void note_ask(const char *op, const struct ulm_ask *a)
{
    note("%s %s [%s] session=%s medium=%d retractable=%d words=%u..%u deadline=%u", op, a->id,
         a->prompt.text, a->session ? a->session : "-", a->medium, a->retractable, a->min_words,
         a->max_words, a->deadline_ms);
    for (size_t i = 0; i < a->prompt.n_facts; i++)
        note(" fact=%s", a->prompt.facts[i]);
    for (size_t i = 0; i < a->prompt.n_history; i++)
        note(" %d=%s", a->prompt.history[i].role, a->prompt.history[i].content);
    note("\n");
}

void ulm_core_ask(struct ulm_core *core, struct ulm_sink *sink, const struct ulm_ask *ask,
                  int64_t now_us)
{
    note_ask("ask", ask);
    core->sinks[core->n_sinks++] = sink;
    if (core->at_ask)
        sink->emit(sink, core->at_ask_id, core->at_ask);
}

void ulm_core_draft(struct ulm_core *core, struct ulm_sink *sink, const struct ulm_ask *ask,
                    int64_t now_us)
{
    note_ask("draft", ask);
    if (core->at_call)
        sink->emit(sink, NULL, core->at_call);
}

void ulm_core_played(struct ulm_core *core, struct ulm_sink *sink, const char *id, unsigned words,
                     int64_t now_us)
{
    note("played %s %u\n", id, words);
    if (core->at_call)
        sink->emit(sink, NULL, core->at_call);
}

void ulm_core_cancel(struct ulm_core *core, struct ulm_sink *sink, const char *id, int64_t now_us)
{
    note("cancel %s\n", id);
    if (core->at_call)
        sink->emit(sink, NULL, core->at_call);
}

void ulm_core_reset(struct ulm_core *core, struct ulm_sink *sink, const char *session)
{
    note("reset %s\n", session);
}

void ulm_core_sink_gone(struct ulm_core *core, struct ulm_sink *sink, int64_t now_us)
{
    core->n_gone++;
    for (size_t i = 0; i < core->n_sinks; i++) {
        if (core->sinks[i] == sink)
            core->sinks[i] = NULL;
    }
}

/* The private bus. */

struct bed {
    char dir[32], address[256];
    pid_t bus;
    uv_loop_t loop;
    struct ulm_peers peers;
    struct ulm_socket_limits limits;
    uid_t allowed;
    struct ulm_dbus *dbus;
    struct caller {
        sd_bus *bus;
        char seen[8192]; /* replies and signals, in order, as lines */
        bool serving;    /* the daemon's name is on the bus */
    } a, b;
};

static int add_status(void *data, bool prometheus, struct ulm_buf *out)
{
    return ulm_buf_add_str(out, ",\"version\":\"1\",\"uptime_s\":2.5,\"model\":null,"
                                "\"counters\":{\"asks\":7},\"cloud\":[{\"name\":\"x\"}]");
}

static const struct ulm_answers answers = {NULL, add_status, NULL};

static void start_bus(struct bed *bed)
{
    char path[64];
    (void)snprintf(bed->dir, sizeof bed->dir, "/tmp/ulmd-bus-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(bed->dir));
    (void)snprintf(path, sizeof path, "%s/conf", bed->dir);
    FILE *conf = fopen(path, "w");
    (void)fprintf(conf,
                  "<busconfig><type>session</type><listen>unix:path=%s/bus</listen>"
                  "<policy context='default'><allow send_destination='*' eavesdrop='true'/>"
                  "<allow eavesdrop='true'/><allow own='*'/></policy></busconfig>",
                  bed->dir);
    (void)fclose(conf);

    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    bed->bus = fork();
    if (bed->bus == 0) {
        char config[80], print[32];
        (void)snprintf(config, sizeof config, "--config-file=%s", path);
        (void)snprintf(print, sizeof print, "--print-address=%d", fds[1]);
        (void)fcntl(fds[1], F_SETFD, 0);
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that fails leaves none behind */
        (void)execlp("dbus-daemon", "dbus-daemon", "--nofork", config, print, (char *)NULL);
        _exit(127);
    }
    (void)close(fds[1]);
    FILE *print = fdopen(fds[0], "r");
    ck_assert_msg(fgets(bed->address, sizeof bed->address, print) != NULL, "dbus-daemon is needed");
    bed->address[strcspn(bed->address, "\n")] = '\0';
    (void)fclose(print);
    (void)setenv("DBUS_SESSION_BUS_ADDRESS", bed->address, 1);
}

/* Everyone's turn; `what` says what is waited for. */
static void turn(struct bed *bed, int *waited_ms, const char *what)
{
    (void)uv_run(&bed->loop, UV_RUN_NOWAIT);
    struct pollfd p[3] = {{uv_backend_fd(&bed->loop), POLLIN, 0}};
    struct caller *callers[] = {&bed->a, &bed->b};
    nfds_t n = 1;
    for (size_t i = 0; i < 2; i++) {
        if (!callers[i]->bus)
            continue;
        while (sd_bus_process(callers[i]->bus, NULL) > 0)
            ;
        p[n++] = (struct pollfd){sd_bus_get_fd(callers[i]->bus),
                                 (short)sd_bus_get_events(callers[i]->bus), 0};
    }
    if (poll(p, n, 5) == 0)
        *waited_ms += 5;
    ck_assert_msg(*waited_ms < 20000, "never happened: %s\ncore: %s\na: %s\nb: %s", what,
                  the_core.log, bed->a.seen, bed->b.seen);
}

#define UNTIL(bed_, condition_)                                                                    \
    do {                                                                                           \
        int waited_ms_ = 0;                                                                        \
        while (!(condition_))                                                                      \
            turn((bed_), &waited_ms_, #condition_);                                                \
    } while (0)

static void saw(struct caller *caller, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void saw(struct caller *caller, const char *format, ...)
{
    size_t len = strlen(caller->seen);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(caller->seen + len, sizeof caller->seen - len, format, args);
    va_end(args);
}

static int on_signal(sd_bus_message *m, void *data, sd_bus_error *error)
{
    struct caller *caller = data;
    const char *member = sd_bus_message_get_member(m), *id = "", *text = "", *more = "";
    uint32_t from = 0, to = 0;
    if (strcmp(member, "Repair") == 0)
        (void)sd_bus_message_read(m, "ssuu", &id, &text, &from, &to);
    else if (strcmp(member, "Retract") == 0)
        (void)sd_bus_message_read(m, "su", &id, &from);
    else if (strcmp(member, "Error") == 0)
        (void)sd_bus_message_read(m, "sss", &id, &text, &more);
    else if (sd_bus_message_has_signature(m, "ss") || sd_bus_message_has_signature(m, "ssd"))
        (void)sd_bus_message_read(m, "ss", &id, &text);
    else
        (void)sd_bus_message_read(m, "s", &id);
    saw(caller, "%s %s %s%s %u %u\n", member, id, text, more, from, to);
    return 0;
}

static int on_changed(sd_bus_message *m, void *data, sd_bus_error *error)
{
    const char *interface, *name, *value;
    if (sd_bus_message_read(m, "s", &interface) < 0 ||
        sd_bus_message_enter_container(m, 'a', "{sv}") < 0)
        return 0;
    while (sd_bus_message_read(m, "{sv}", &name, "s", &value) > 0)
        saw(data, "%s=%s\n", name, value);
    return 0;
}

static int on_owner(sd_bus_message *m, void *data, sd_bus_error *error)
{
    struct caller *caller = data;
    caller->serving = true;
    return 0;
}

static void connect_caller(struct bed *bed, struct caller *caller)
{
    *caller = (struct caller){0};
    ck_assert_int_ge(sd_bus_new(&caller->bus), 0);
    ck_assert_int_ge(sd_bus_set_address(caller->bus, bed->address), 0);
    ck_assert_int_ge(sd_bus_set_bus_client(caller->bus, true), 0);
    ck_assert_int_ge(sd_bus_start(caller->bus), 0);
    /* Whatever the daemon sends that the bus lets this connection have. */
    ck_assert_int_ge(sd_bus_add_match(caller->bus, NULL,
                                      "type='signal',interface='org.ulmd.Assistant1'", on_signal,
                                      caller),
                     0);
    ck_assert_int_ge(sd_bus_add_match(caller->bus, NULL, "type='signal',member='PropertiesChanged'",
                                      on_changed, caller),
                     0);
    ck_assert_int_ge(sd_bus_add_match(caller->bus, NULL,
                                      "type='signal',member='NameOwnerChanged',"
                                      "arg0='org.ulmd.Assistant1'",
                                      on_owner, caller),
                     0);
}

static void begin(struct bed *bed)
{
    *bed = (struct bed){0};
    the_core = (struct ulm_core){0};
    start_bus(bed);
    ck_assert_int_eq(uv_loop_init(&bed->loop), 0);
    ulm_peers_init(&bed->peers);
    connect_caller(bed, &bed->a);
    connect_caller(bed, &bed->b);
    struct ulm_dbus_config config = {.limits = &bed->limits, .model = "tiny", .cloud = true};
    ck_assert_int_eq(
        ulm_dbus_new(&bed->loop, &the_core, &bed->peers, &answers, &config, &bed->dbus), 0);
    UNTIL(bed, bed->a.serving && bed->b.serving);
}

static void end(struct bed *bed)
{
    bed->dbus = ulm_dbus_free(bed->dbus);
    (void)uv_run(&bed->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&bed->loop), 0);
    sd_bus_flush_close_unref(bed->a.bus);
    sd_bus_flush_close_unref(bed->b.bus);
    ulm_peers_deinit(&bed->peers);
    (void)kill(bed->bus, SIGTERM);
    (void)waitpid(bed->bus, NULL, 0);
    char path[64];
    (void)snprintf(path, sizeof path, "%s/conf", bed->dir);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/bus", bed->dir);
    (void)unlink(path);
    (void)rmdir(bed->dir);
}

static int on_reply(sd_bus_message *m, void *data, sd_bus_error *error)
{
    const char *id = "";
    if (sd_bus_message_is_method_error(m, NULL))
        saw(data, "error %s\n", sd_bus_message_get_error(m)->name);
    else if (sd_bus_message_has_signature(m, "s") && sd_bus_message_read(m, "s", &id) >= 0)
        saw(data, "reply %s\n", id);
    else
        saw(data, "reply%s%s\n", *sd_bus_message_get_signature(m, true) ? " " : "",
            sd_bus_message_get_signature(m, true));
    return 0;
}

#define CALL(caller_, method_, ...)                                                                \
    ck_assert_int_ge(sd_bus_call_method_async((caller_)->bus, NULL, "org.ulmd.Assistant1",         \
                                              "/org/ulmd/Assistant1", "org.ulmd.Assistant1",       \
                                              (method_), on_reply, (caller_), __VA_ARGS__),        \
                     0)

static const struct ulm_event opener = {.type = ULM_EVENT_OPENER, .opener = {"The"}};
static const struct ulm_event done = {
    .type = ULM_EVENT_DONE,
    .done = {.reason = ULM_REASON_COMPLETE,
             .text = "The end.",
             .timing = {1, 2, -1, -1, -1, 6, -1},
             .input_tokens = -1,
             .output_tokens = -1},
};
static const struct ulm_event busy = {.type = ULM_EVENT_ERROR,
                                      .error = {ULM_ERROR_BUSY, "later", NULL}};
static const struct ulm_event not_found = {.type = ULM_EVENT_ERROR,
                                           .error = {ULM_ERROR_NOT_FOUND, "no such id", "1"}};

START_TEST(test_answers_go_to_the_asker_alone_and_after_the_reply)
{
    struct bed bed;
    begin(&bed);
    the_core.at_ask = &opener;
    the_core.at_ask_id = "1";
    CALL(&bed.a, "Ask", "sa{sv}", "what?", 1, "id", "s", "1");
    UNTIL(&bed, strstr(bed.a.seen, "Opener"));
    ck_assert_str_eq(bed.a.seen, "reply 1\nOpener 1 The 0 0\n");
    the_core.at_ask = NULL;
    CALL(&bed.b, "Ask", "sa{sv}", "and me?", 1, "id", "s", "1"); /* ids are each caller's own */
    UNTIL(&bed, the_core.n_sinks == 2);
    struct ulm_sink *a = the_core.sinks[0], *b = the_core.sinks[1];
    ck_assert_ptr_ne(a, b);
    ck_assert_uint_eq(a->uid, getuid());

    static const struct ulm_event events[] = {
        {.type = ULM_EVENT_OPENED, .opened = {"The cat", 2, -0.5}},
        {.type = ULM_EVENT_REPAIR, .repair = {ULM_VERDICT_REDO, 1, 7}},
        {.type = ULM_EVENT_RETRACT, .retract = {7}},
        {.type = ULM_EVENT_NOTICE, .notice = {ULM_NOTICE_STALLED}},
        {.type = ULM_EVENT_DELTA, .delta = {"The end."}},
    };
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        a->emit(a, "1", &events[i]);
    a->emit(a, "1", &done);
    b->emit(b, "1", &done);
    UNTIL(&bed, strstr(bed.a.seen, "Done") && strstr(bed.b.seen, "Done"));
    ck_assert_str_eq(bed.a.seen,
                     "reply 1\nOpener 1 The 0 0\nOpened 1 The cat 0 0\nRepair 1 redo 1 7\n"
                     "Retract 1  7 0\nNotice 1 stalled 0 0\nDelta 1 The end. 0 0\nDone 1  0 0\n");
    ck_assert_str_eq(bed.b.seen, "reply 1\nDone 1  0 0\n");
    end(&bed);
}
END_TEST

START_TEST(test_options)
{
    struct bed bed;
    begin(&bed);
    CALL(&bed.a, "Ask", "sa{sv}", "plain", 0);
    CALL(&bed.a, "Ask", "sa{sv}", "full", 10, "id", "s", "q", "session", "s", "car", "medium", "s",
         "speech", "retractable", "b", 0, "context", "as", 2, "in Lima", "raining", "history",
         "a(ss)", 2, "user", "hi", "assistant", "hello", "min_words", "u", 2, "max_words", "i", 5,
         "deadline_ms", "t", (uint64_t)9000, "unknown", "a{ss}", 1, "x", "y");
    CALL(&bed.a, "Draft", "ssa{sv}", "d", "half a", 1, "id", "s", "ignored");
    CALL(&bed.a, "Played", "su", "q", 3);
    CALL(&bed.a, "Reset", "s", "car");
    UNTIL(&bed, strstr(the_core.log, "reset"));
    ck_assert_str_eq(
        the_core.log,
        "ask ask-1 [plain] session=- medium=0 retractable=-1 words=0..0 deadline=0\n"
        "ask q [full] session=car medium=1 retractable=0 words=2..5 deadline=9000 fact=in Lima "
        "fact=raining 0=hi 1=hello\n"
        "draft d [half a] session=- medium=0 retractable=-1 words=0..0 deadline=0\n"
        "played q 3\nreset car\n");
    UNTIL(&bed, strcmp(bed.a.seen, "reply ask-1\nreply q\nreply\nreply\nreply\n") == 0);
    end(&bed);
}
END_TEST

START_TEST(test_mistakes_are_replies_and_harm_no_request)
{
    struct bed bed;
    begin(&bed);
    char id[80];
    memset(id, 'i', 65);
    id[65] = '\0';
    CALL(&bed.a, "Ask", "sa{sv}", "what?", 1, "id", "s", "1");
    CALL(&bed.a, "Ask", "sa{sv}", "again", 1, "id", "s", "1");
    CALL(&bed.a, "Ask", "sa{sv}", " \n", 0);
    CALL(&bed.a, "Ask", "sa{sv}", "x", 1, "id", "s", id);
    CALL(&bed.a, "Ask", "sa{sv}", "x", 1, "medium", "s", "smoke");
    CALL(&bed.a, "Ask", "sa{sv}", "x", 1, "max_words", "d", 1.0);
    CALL(&bed.a, "Ask", "sa{sv}", "x", 1, "min_words", "u", 99);
    CALL(&bed.a, "Ask", "sa{sv}", "x", 1, "context", "s", "fact");
    CALL(&bed.a, "Ask", "sa{sv}", "x", 1, "history", "a(ss)", 1, "robot", "hm");
    CALL(&bed.a, "Reset", "s", "");
    the_core.at_call = &not_found;
    CALL(&bed.a, "Cancel", "s", "1");
    UNTIL(&bed, strstr(bed.a.seen, "NotFound"));
    char want[1024] = "reply 1\n";
    for (int i = 0; i < 9; i++)
        strcat(want, "error org.ulmd.Error.BadRequest\n");
    strcat(want, "error org.ulmd.Error.NotFound\n");
    ck_assert_str_eq(bed.a.seen, want);
    ck_assert_uint_eq(the_core.n_sinks, 1);
    the_core.sinks[0]->emit(the_core.sinks[0], "1", &done);
    CALL(&bed.a, "Ask", "sa{sv}", "once more", 1, "id", "s", "1"); /* the id is free again */
    UNTIL(&bed, the_core.n_sinks == 2);
    end(&bed);
}
END_TEST

START_TEST(test_a_refused_ask_ends_with_an_error_signal)
{
    struct bed bed;
    begin(&bed);
    the_core.at_ask = &busy;
    the_core.at_ask_id = "1";
    CALL(&bed.a, "Ask", "sa{sv}", "what?", 1, "id", "s", "1");
    UNTIL(&bed, strcmp(bed.a.seen, "reply 1\nError 1 busylater 0 0\n") == 0);
    the_core.at_ask_id = NULL;
    CALL(&bed.a, "Ask", "sa{sv}", "what?", 1, "id", "s", "1");
    UNTIL(&bed, strcmp(bed.a.seen, "reply 1\nError 1 busylater 0 0\n"
                                   "reply 1\nError 1 busylater 0 0\n") == 0);
    end(&bed);
}
END_TEST

START_TEST(test_a_caller_that_leaves_is_told_to_core)
{
    struct bed bed;
    begin(&bed);
    CALL(&bed.a, "Ask", "sa{sv}", "what?", 0);
    CALL(&bed.b, "Ask", "sa{sv}", "what?", 0);
    UNTIL(&bed, the_core.n_sinks == 2);
    bed.a.bus = sd_bus_flush_close_unref(bed.a.bus);
    UNTIL(&bed, the_core.n_gone == 1);
    UNTIL(&bed, strstr(bed.b.seen, "reply"));
    struct ulm_sink *b = the_core.sinks[0] ? the_core.sinks[0] : the_core.sinks[1];
    b->emit(b, "ask-1", &done);
    UNTIL(&bed, strstr(bed.b.seen, "Done"));

    /* One that asks and leaves at once must leave nothing behind either. */
    connect_caller(&bed, &bed.a);
    CALL(&bed.a, "Ask", "sa{sv}", "bye", 0);
    bed.a.bus = sd_bus_flush_close_unref(bed.a.bus);
    UNTIL(&bed, the_core.n_gone == the_core.n_sinks - 1 || !strstr(the_core.log, "[bye]"));
    end(&bed);
    ck_assert_uint_eq(the_core.n_gone, the_core.n_sinks);
}
END_TEST

START_TEST(test_who_may_not_ask)
{
    struct bed bed;
    begin(&bed);
    bed.allowed = getuid() + 1;
    bed.limits.allow_uids = &bed.allowed;
    bed.limits.n_allow_uids = 1;
    CALL(&bed.a, "Ask", "sa{sv}", "what?", 0);
    UNTIL(&bed, strcmp(bed.a.seen, "error org.ulmd.Error.Denied\n") == 0);
    bed.allowed = getuid();
    CALL(&bed.a, "Ask", "sa{sv}", "what?", 0);
    UNTIL(&bed, strstr(bed.a.seen, "reply ask-1"));
    ck_assert_uint_eq(the_core.n_sinks, 1);
    end(&bed);
}
END_TEST

START_TEST(test_status_and_properties)
{
    struct bed bed;
    begin(&bed);
    CALL(&bed.a, "Status", NULL);
    UNTIL(&bed, strcmp(bed.a.seen, "reply a{sv}\n") == 0);
    bed.a.seen[0] = '\0';
    struct ulm_dbus_config config = {.limits = &bed.limits, .model = "other", .cloud = false};
    ulm_dbus_configure(bed.dbus, &config);
    UNTIL(&bed, strcmp(bed.a.seen, "Model=other\nState=local-only\n") == 0);
    ulm_dbus_configure(bed.dbus, &config); /* nothing changed, nothing is told */
    ulm_dbus_stop(bed.dbus);
    UNTIL(&bed, strstr(bed.a.seen, "stopping"));
    ck_assert_str_eq(bed.a.seen, "Model=other\nState=local-only\nState=stopping\n");
    CALL(&bed.a, "Ask", "sa{sv}", "too late", 0);
    UNTIL(&bed, strstr(bed.a.seen, "error org.ulmd.Error.Busy"));
    end(&bed);
}
END_TEST

/* XML without comments, annotations, white space. */
static void squeeze(const char *xml, char *dest, size_t size)
{
    size_t len = 0;
    const char *from = strstr(xml, "<interface name=\"org.ulmd.Assistant1\">");
    ck_assert_ptr_nonnull(from);
    const char *to = strstr(from, "</interface>");
    for (const char *p = from; p < to && len + 1 < size;) {
        if (strncmp(p, "<!--", 4) == 0)
            p = strstr(p, "-->") + 3;
        else if (*p == ' ' || *p == '\n')
            p++;
        else
            dest[len++] = *p++;
    }
    dest[len] = '\0';
}

static int on_xml(sd_bus_message *m, void *data, sd_bus_error *error)
{
    char **copy = data;
    const char *xml;
    ck_assert_int_ge(sd_bus_message_read(m, "s", &xml), 0);
    *copy = strdup(xml);
    return 0;
}

START_TEST(test_the_installed_introspection_is_the_interface)
{
    struct bed bed;
    begin(&bed);
    char *served = NULL, file[16384], want[8192], got[8192];
    ck_assert_int_ge(sd_bus_call_method_async(bed.a.bus, NULL, "org.ulmd.Assistant1",
                                              "/org/ulmd/Assistant1",
                                              "org.freedesktop.DBus.Introspectable", "Introspect",
                                              on_xml, &served, NULL),
                     0);
    UNTIL(&bed, served);
    char path[512];
    (void)snprintf(path, sizeof path, "%s/org.ulmd.Assistant1.xml", getenv("CONF"));
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    file[fread(file, 1, sizeof file - 1, f)] = '\0';
    (void)fclose(f);
    squeeze(served, got, sizeof got);
    squeeze(file, want, sizeof want);
    ck_assert_str_eq(got, want);
    free(served);
    end(&bed);
}
END_TEST

UNIT_MAIN("dbus", test_answers_go_to_the_asker_alone_and_after_the_reply, test_options,
          test_mistakes_are_replies_and_harm_no_request,
          test_a_refused_ask_ends_with_an_error_signal, test_a_caller_that_leaves_is_told_to_core,
          test_who_may_not_ask, test_status_and_properties,
          test_the_installed_introspection_is_the_interface)
