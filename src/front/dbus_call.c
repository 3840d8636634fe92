/* SPDX-License-Identifier: MIT */
/* The interface: methods to core, properties. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/dbus_parts.h"
#include "front/wire.h"

static int64_t now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

static int refuse(sd_bus_message *call, enum ulm_error code, const char *message)
{
    return sd_bus_reply_method_errorf(call, ulm_dbus_error_name(code), "%s", message);
}

/* Replies with the error where one is set, else with nothing. */
static int reply_empty(sd_bus_message *call, sd_bus_error *fault)
{
    int r = sd_bus_error_is_set(fault) ? sd_bus_reply_method_error(call, fault)
                                       : sd_bus_reply_method_return(call, NULL);
    sd_bus_error_free(fault);
    return r;
}

/* `s text, a{sv} options`, with the id of Draft before it. Texts are valid UTF-8: the bus saw to
 * it. */
static int read_ask(sd_bus_message *call, bool draft, struct ulm_dbus_args *args,
                    sd_bus_error *error)
{
    const char *id = NULL;
    args->ask.retractable = -1;
    int r = draft ? sd_bus_message_read(call, "s", &id) : 0;
    if (r >= 0)
        r = sd_bus_message_read(call, "s", &args->ask.prompt.text);
    if (r >= 0)
        r = ulm_dbus_read_options(call, args, error);
    if (draft)
        args->ask.id = id;
    return r;
}

static int check_ask(const struct ulm_ask *ask, sd_bus_error *error)
{
    struct ulm_fault fault = {0};
    return ulm_ask_check(ask, &fault)
               ? 0
               : sd_bus_error_set(error, ulm_dbus_error_name(fault.code), fault.message);
}

/* The reply with the id goes out first; then core is asked, and whatever it says follows. */
static int open_ask(struct ulm_caller *caller, sd_bus_message *call, const struct ulm_ask *ask)
{
    struct ulm_dbus *dbus = caller->dbus;
    int r = ulm_caller_remember_open(caller, ask->id);
    if (r == -EEXIST)
        return refuse(call, ULM_ERROR_BAD_REQUEST, "a request with this id is open");
    if (r >= 0)
        r = sd_bus_reply_method_return(call, "s", ask->id);
    if (r < 0) {
        ulm_caller_forget_open(caller, ask->id);
        return r;
    }
    sd_bus_error fault = SD_BUS_ERROR_NULL;
    caller->fault = &fault;
    ulm_core_ask(dbus->core, &caller->sink, ask, now_us());
    caller->fault = NULL;
    if (sd_bus_error_is_set(&fault)) { /* core holds no such request: this is its end */
        const struct ulm_event event = {
            .type = ULM_EVENT_ERROR,
            .error = {caller->fault_code, fault.message, NULL},
        };
        ulm_caller_emit(&caller->sink, ask->id, &event);
    }
    sd_bus_error_free(&fault);
    return 1;
}

static int serve_ask(struct ulm_caller *caller, sd_bus_message *call)
{
    struct ulm_dbus *dbus = caller->dbus;
    __attribute__((cleanup(sd_bus_error_free))) sd_bus_error error = SD_BUS_ERROR_NULL;
    struct ulm_dbus_args args = {0};
    char id[32];

    int r = read_ask(call, /* draft */ false, &args, &error);
    if (r >= 0 && !args.ask.id) {
        (void)snprintf(id, sizeof id, "ask-%u", ++caller->asked);
        args.ask.id = id;
    }
    if (r >= 0)
        r = check_ask(&args.ask, &error);
    if (r < 0)
        return sd_bus_error_is_set(&error) ? sd_bus_reply_method_error(call, &error) : r;
    const char *refusal = ulm_peer_refusal(dbus->peers, caller->peer,
                                           ulm_dbus_open_requests(dbus, caller->peer), now_us());
    return refusal ? refuse(call, ULM_ERROR_BUSY, refusal) : open_ask(caller, call, &args.ask);
}

static int serve_draft(struct ulm_caller *caller, sd_bus_message *call)
{
    __attribute__((cleanup(sd_bus_error_free))) sd_bus_error error = SD_BUS_ERROR_NULL;
    struct ulm_dbus_args args = {0};

    int r = read_ask(call, /* draft */ true, &args, &error);
    if (r >= 0)
        r = check_ask(&args.ask, &error);
    if (r < 0)
        return sd_bus_error_is_set(&error) ? sd_bus_reply_method_error(call, &error) : r;
    sd_bus_error fault = SD_BUS_ERROR_NULL;
    caller->fault = &fault;
    ulm_core_draft(caller->dbus->core, &caller->sink, &args.ask, now_us());
    caller->fault = NULL;
    return reply_empty(call, &fault);
}

static int serve_played(struct ulm_caller *caller, sd_bus_message *call)
{
    sd_bus_error fault = SD_BUS_ERROR_NULL;
    const char *id;
    uint32_t words;
    int r = sd_bus_message_read(call, "su", &id, &words);
    if (r < 0)
        return r;
    caller->fault = &fault;
    ulm_core_played(caller->dbus->core, &caller->sink, id, words, now_us());
    caller->fault = NULL;
    return reply_empty(call, &fault);
}

static int serve_cancel(struct ulm_caller *caller, sd_bus_message *call)
{
    sd_bus_error fault = SD_BUS_ERROR_NULL;
    const char *id;
    int r = sd_bus_message_read(call, "s", &id);
    if (r < 0)
        return r;
    caller->fault = &fault;
    ulm_core_cancel(caller->dbus->core, &caller->sink, id, now_us());
    caller->fault = NULL;
    return reply_empty(call, &fault);
}

static int serve_reset(struct ulm_caller *caller, sd_bus_message *call)
{
    const char *session;
    int r = sd_bus_message_read(call, "s", &session);
    if (r < 0)
        return r;
    if (!*session || strlen(session) > ULM_SESSION_NAME_MAX)
        return refuse(call, ULM_ERROR_BAD_REQUEST, "a session's name has 1 to 64 bytes");
    ulm_core_reset(caller->dbus->core, &caller->sink, session);
    return sd_bus_reply_method_return(call, NULL);
}

static int serve_status(struct ulm_caller *caller, sd_bus_message *call)
{
    const struct ulm_answers *answers = &caller->dbus->answers;
    ULM_CLEANUP_BUF struct ulm_buf members = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX / 2);
    __attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;

    int r = answers->status(answers->data, /* prometheus */ false, &members);
    if (r >= 0)
        r = sd_bus_message_new_method_return(call, &reply);
    if (r >= 0)
        r = ulm_dbus_append_json(reply, ulm_buf_str(&members));
    return r < 0 ? r : sd_bus_send(caller->dbus->bus, reply, NULL);
}

static_assert(ULM_SESSION_NAME_MAX == 64, "the message names the limit");

int ulm_dbus_serve(struct ulm_caller *caller, sd_bus_message *call)
{
    static const struct {
        const char *method;
        int (*serve)(struct ulm_caller *caller, sd_bus_message *call);
    } methods[] = {
        {"Ask", serve_ask},       {"Draft", serve_draft}, {"Played", serve_played},
        {"Cancel", serve_cancel}, {"Reset", serve_reset}, {"Status", serve_status},
    };
    const char *name = sd_bus_message_get_member(call);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(methods[i].method, name) == 0)
            return methods[i].serve(caller, call);
    }
    return -EBADR;
}

static int on_call(sd_bus_message *call, void *data, sd_bus_error *error)
{
    struct ulm_dbus *dbus = data;
    if (dbus->stopping)
        return refuse(call, ULM_ERROR_BUSY, "the daemon is stopping");
    return ulm_dbus_receive(dbus, call);
}

/* Properties */

const char *ulm_dbus_state(const struct ulm_dbus *dbus)
{
    if (dbus->stopping)
        return "stopping";
    if (!dbus->model)
        return dbus->cloud ? "cloud-only" : "unable";
    return dbus->cloud ? "ready" : "local-only";
}

static int get_property(sd_bus *bus, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *data, sd_bus_error *error)
{
    const struct ulm_dbus *dbus = data;
    const char *value = ULMD_VERSION;
    if (strcmp(property, "Model") == 0)
        value = dbus->model ? dbus->model : "";
    else if (strcmp(property, "State") == 0)
        value = ulm_dbus_state(dbus);
    return sd_bus_message_append(reply, "s", value);
}

const sd_bus_vtable ulm_dbus_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("Ask", SD_BUS_ARGS("s", text, "a{sv}", options), SD_BUS_RESULT("s", id),
                            on_call, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Draft", SD_BUS_ARGS("s", id, "s", text, "a{sv}", options),
                            SD_BUS_NO_RESULT, on_call, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Played", SD_BUS_ARGS("s", id, "u", words), SD_BUS_NO_RESULT, on_call,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Cancel", SD_BUS_ARGS("s", id), SD_BUS_NO_RESULT, on_call,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Reset", SD_BUS_ARGS("s", session), SD_BUS_NO_RESULT, on_call,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Status", SD_BUS_NO_ARGS, SD_BUS_RESULT("a{sv}", status), on_call,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_SIGNAL_WITH_ARGS("Opener", SD_BUS_ARGS("s", id, "s", text), 0),
    SD_BUS_SIGNAL_WITH_ARGS("Opened", SD_BUS_ARGS("s", id, "s", opener, "d", confidence), 0),
    SD_BUS_SIGNAL_WITH_ARGS("Repair", SD_BUS_ARGS("s", id, "s", strategy, "u", from, "u", to), 0),
    SD_BUS_SIGNAL_WITH_ARGS("Retract", SD_BUS_ARGS("s", id, "u", chars), 0),
    SD_BUS_SIGNAL_WITH_ARGS("Delta", SD_BUS_ARGS("s", id, "s", text), 0),
    SD_BUS_SIGNAL_WITH_ARGS("Notice", SD_BUS_ARGS("s", id, "s", code), 0),
    SD_BUS_SIGNAL_WITH_ARGS("Done", SD_BUS_ARGS("s", id, "a{sv}", result), 0),
    SD_BUS_SIGNAL_WITH_ARGS("Error", SD_BUS_ARGS("s", id, "s", code, "s", message), 0),
    SD_BUS_PROPERTY("Version", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Model", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("State", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_VTABLE_END,
};
