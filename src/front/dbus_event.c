/* SPDX-License-Identifier: MIT */
/* Core's events as signals to the asking connection alone. */
#include <errno.h>
#include <string.h>

#include "front/dbus_parts.h"
#include "util/log.h"

#define CALLER_OF(sink_)                                                                           \
    ((struct ulm_caller *)(void *)((char *)(sink_)-offsetof(struct ulm_caller, sink)))

static int append_text(sd_bus_message *m, const char *name, const char *text)
{
    return text ? sd_bus_message_append(m, "{sv}", name, "s", text) : 0;
}

static int append_ms(sd_bus_message *m, const char *name, int64_t us)
{
    return us < 0 ? 0 : sd_bus_message_append(m, "{sd}", name, (double)us / 1000);
}

static int append_timing(sd_bus_message *m, const struct ulm_timing *t)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "timing");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "a{sd}");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sd}");
    if (r >= 0)
        r = append_ms(m, "first_word", t->first_word_us);
    if (r >= 0)
        r = append_ms(m, "opener", t->opener_us);
    if (r >= 0)
        r = append_ms(m, "cloud_sent", t->cloud_sent_us);
    if (r >= 0)
        r = append_ms(m, "cloud_first_byte", t->cloud_first_byte_us);
    if (r >= 0)
        r = append_ms(m, "cloud_first_text", t->cloud_first_text_us);
    if (r >= 0)
        r = append_ms(m, "total", t->total_us);
    if (r >= 0)
        r = append_ms(m, "gap", t->gap_us);
    for (int i = 0; i < 3 && r >= 0; i++)
        r = sd_bus_message_close_container(m);
    return r;
}

static int append_done(sd_bus_message *m, const struct ulm_event *event)
{
    int r = sd_bus_message_open_container(m, 'a', "{sv}");
    if (r >= 0)
        r = append_text(m, "reason", ulm_reason_name(event->done.reason));
    if (r >= 0)
        r = append_text(m, "source", ulm_source_name(event->done.source));
    if (r >= 0)
        r = append_text(m, "verdict", ulm_verdict_name(event->done.verdict));
    if (r >= 0)
        r = append_text(m, "text", event->done.text);
    if (r >= 0)
        r = append_timing(m, &event->done.timing);
    if (r >= 0 && event->done.input_tokens >= 0)
        r = sd_bus_message_append(m, "{sv}", "input_tokens", "t",
                                  (uint64_t)event->done.input_tokens);
    if (r >= 0 && event->done.output_tokens >= 0)
        r = sd_bus_message_append(m, "{sv}", "output_tokens", "t",
                                  (uint64_t)event->done.output_tokens);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_members(sd_bus_message *m, const struct ulm_event *event)
{
    switch (event->type) {
    case ULM_EVENT_OPENER:
        return sd_bus_message_append(m, "s", event->opener.text);
    case ULM_EVENT_OPENED:
        return sd_bus_message_append(m, "sd", event->opened.opener, event->opened.confidence);
    case ULM_EVENT_REPAIR:
        return sd_bus_message_append(m, "suu", ulm_verdict_name(event->repair.strategy),
                                     (uint32_t)event->repair.from, (uint32_t)event->repair.to);
    case ULM_EVENT_RETRACT:
        return sd_bus_message_append(m, "u", (uint32_t)event->retract.chars);
    case ULM_EVENT_DELTA:
        return sd_bus_message_append(m, "s", event->delta.text);
    case ULM_EVENT_NOTICE:
        return sd_bus_message_append(m, "s", ulm_notice_name(event->notice.code));
    case ULM_EVENT_DONE:
        return append_done(m, event);
    case ULM_EVENT_ERROR:
        return sd_bus_message_append(m, "ss", ulm_error_name(event->error.code),
                                     event->error.message);
    }
    return -EINVAL;
}

static const char *signal_name(enum ulm_event_type type)
{
    switch (type) {
    case ULM_EVENT_OPENER:
        return "Opener";
    case ULM_EVENT_OPENED:
        return "Opened";
    case ULM_EVENT_REPAIR:
        return "Repair";
    case ULM_EVENT_RETRACT:
        return "Retract";
    case ULM_EVENT_DELTA:
        return "Delta";
    case ULM_EVENT_NOTICE:
        return "Notice";
    case ULM_EVENT_DONE:
        return "Done";
    case ULM_EVENT_ERROR:
        return "Error";
    }
    return "Error";
}

static int send_event(struct ulm_caller *caller, const char *id, const struct ulm_event *event)
{
    sd_bus *bus = caller->dbus->bus;
    uint64_t queued = 0;
    __attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *m = NULL;

    (void)sd_bus_get_n_queued_write(bus, &queued);
    if (queued > ULM_BUS_QUEUE_MAX)
        return -ENOBUFS;
    int r = sd_bus_message_new_signal(bus, &m, ULM_DBUS_PATH, ULM_DBUS_INTERFACE,
                                      signal_name(event->type));
    if (r >= 0)
        r = sd_bus_message_set_destination(m, caller->name);
    if (r >= 0)
        r = sd_bus_message_append(m, "s", id);
    if (r >= 0)
        r = append_members(m, event);
    return r < 0 ? r : sd_bus_send(bus, m, NULL);
}

void ulm_caller_spent(struct ulm_sink *sink, int64_t tokens)
{
    ulm_peer_charge(CALLER_OF(sink)->peer, tokens);
}

void ulm_caller_emit(struct ulm_sink *sink, const char *id, const struct ulm_event *event)
{
    struct ulm_caller *caller = CALLER_OF(sink);
    struct ulm_dbus *dbus = caller->dbus;

    if (!dbus->bus || caller->lost)
        return;
    if (!id) { /* the mistake of a call: its reply tells, so that no open request is harmed */
        if (caller->fault && event->type == ULM_EVENT_ERROR) {
            caller->fault_code = event->error.code;
            (void)sd_bus_error_set(caller->fault, ulm_dbus_error_name(event->error.code),
                                   event->error.message);
        }
        return;
    }
    int r = send_event(caller, id, event);
    if (r < 0) {
        ulm_log(ULM_LOG_WARNING, "D-Bus: an event could not be sent: %s", strerror(-r));
        caller->lost = dbus->lost_callers = true;
    }
    dbus->pending = true;
    if (ulm_event_is_terminal(event->type))
        ulm_caller_forget_open(caller, id);
}
