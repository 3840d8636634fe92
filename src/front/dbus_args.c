/* SPDX-License-Identifier: MIT */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "front/dbus_parts.h"
#include "util/buf.h"

#define VALUES_MAX 1024u /* options of one call, and values in those that are not known */

const char *ulm_dbus_error_name(enum ulm_error code)
{
    switch (code) {
    case ULM_ERROR_BAD_REQUEST:
        return "org.ulmd.Error.BadRequest";
    case ULM_ERROR_TOO_LONG:
        return "org.ulmd.Error.TooLong";
    case ULM_ERROR_BUSY:
        return "org.ulmd.Error.Busy";
    case ULM_ERROR_NOT_FOUND:
        return "org.ulmd.Error.NotFound";
    case ULM_ERROR_NO_MODEL:
        return "org.ulmd.Error.NoModel";
    case ULM_ERROR_INTERNAL:
        return "org.ulmd.Error.Internal";
    case ULM_ERROR_DENIED:
        return "org.ulmd.Error.Denied";
    }
    return "org.ulmd.Error.Internal";
}

/* Any integer type: which one a language binding picks is its own affair. */
static int read_number(sd_bus_message *m, const char *type, unsigned *ret)
{
    union {
        uint8_t y;
        int16_t n;
        uint16_t q;
        int32_t i;
        uint32_t u;
        int64_t x;
        uint64_t t;
    } v = {0};
    int64_t value;
    int r;

    if (strlen(type) != 1 || !strchr("ynqiuxt", *type))
        return -EINVAL;
    r = sd_bus_message_read_basic(m, *type, &v);
    if (r < 0)
        return r;
    switch (*type) {
    case 'y':
        value = v.y;
        break;
    case 'n':
        value = v.n;
        break;
    case 'q':
        value = v.q;
        break;
    case 'i':
        value = v.i;
        break;
    case 'u':
        value = v.u;
        break;
    case 'x':
        value = v.x;
        break;
    default:
        value = v.t > INT64_MAX ? INT64_MAX : (int64_t)v.t;
        break;
    }
    if (value < 1 || value > UINT32_MAX / 1000)
        return -ERANGE;
    *ret = (unsigned)value;
    return 0;
}

static int read_facts(sd_bus_message *m, struct ulm_dbus_args *args)
{
    struct ulm_prompt *p = &args->ask.prompt;
    const char *fact;
    int r = sd_bus_message_enter_container(m, 'a', "s");
    p->n_facts = 0;
    while (r >= 0 && (r = sd_bus_message_read(m, "s", &fact)) > 0) {
        if (p->n_facts == ULM_FACTS_MAX)
            return -E2BIG;
        args->facts[p->n_facts++] = fact;
    }
    p->facts = args->facts;
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_history(sd_bus_message *m, struct ulm_dbus_args *args)
{
    struct ulm_prompt *p = &args->ask.prompt;
    const char *role, *content;
    int r = sd_bus_message_enter_container(m, 'a', "(ss)");
    p->n_history = 0;
    while (r >= 0 && (r = sd_bus_message_read(m, "(ss)", &role, &content)) > 0) {
        if (p->n_history == ULM_TURNS_MAX)
            return -E2BIG;
        bool user = strcmp(role, "user") == 0;
        if (!user && strcmp(role, "assistant") != 0)
            return -EINVAL;
        args->history[p->n_history++] =
            (struct ulm_turn){user ? ULM_ROLE_USER : ULM_ROLE_ASSISTANT, content};
    }
    p->history = args->history;
    args->ask.has_history = true;
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_string(sd_bus_message *m, const char *type, const char **ret)
{
    return strcmp(type, "s") == 0 ? sd_bus_message_read_basic(m, 's', ret) : -EINVAL;
}

static int read_medium(sd_bus_message *m, const char *type, enum ulm_medium *ret)
{
    const char *name;
    int r = read_string(m, type, &name);
    if (r < 0)
        return r;
    bool speech = strcmp(name, "speech") == 0;
    *ret = speech ? ULM_MEDIUM_SPEECH : ULM_MEDIUM_DISPLAY;
    return speech || strcmp(name, "display") == 0 ? 0 : -EINVAL;
}

/* Passes over what stands at the cursor, of which *left values may still be looked at: a message
 * may be as large as the bus lets it be. 1, 0 at the end of its container, or an errno. */
static int pass_over(sd_bus_message *m, unsigned *left)
{
    const char *contents;
    char type;
    int r = sd_bus_message_peek_type(m, &type, &contents);
    if (r <= 0)
        return r;
    if ((*left)-- == 0)
        return -E2BIG;
    if (!contents) {
        r = sd_bus_message_skip(m, (const char[]){type, '\0'});
        return r < 0 ? r : 1;
    }
    r = sd_bus_message_enter_container(m, type, contents);
    while (r > 0)
        r = pass_over(m, left); /* no deeper than the bus allows: 64 */
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    return r < 0 ? r : 1;
}

/* The cursor stands inside the variant, whose type is given. Unknown names are passed over. */
static int read_option(sd_bus_message *m, const char *name, const char *type,
                       struct ulm_dbus_args *args, unsigned *left)
{
    struct ulm_ask *ask = &args->ask;
    if (strcmp(name, "id") == 0)
        return read_string(m, type, &ask->id);
    if (strcmp(name, "session") == 0)
        return read_string(m, type, &ask->session);
    if (strcmp(name, "medium") == 0)
        return read_medium(m, type, &ask->medium);
    if (strcmp(name, "retractable") == 0)
        return strcmp(type, "b") == 0 ? sd_bus_message_read_basic(m, 'b', &ask->retractable)
                                      : -EINVAL;
    if (strcmp(name, "min_words") == 0)
        return read_number(m, type, &ask->min_words);
    if (strcmp(name, "max_words") == 0)
        return read_number(m, type, &ask->max_words);
    if (strcmp(name, "deadline_ms") == 0)
        return read_number(m, type, &ask->deadline_ms);
    if (strcmp(name, "context") == 0)
        return strcmp(type, "as") == 0 ? read_facts(m, args) : -EINVAL;
    if (strcmp(name, "history") == 0)
        return strcmp(type, "a(ss)") == 0 ? read_history(m, args) : -EINVAL;
    return pass_over(m, left);
}

static int refuse_option(const char *name, int fault, sd_bus_error *error)
{
    enum ulm_error code = fault == -E2BIG ? ULM_ERROR_TOO_LONG : ULM_ERROR_BAD_REQUEST;
    return sd_bus_error_setf(error, ulm_dbus_error_name(code),
                             fault == -E2BIG ? "the option `%s` has too many entries"
                             : strcmp(name, "medium") == 0
                                 ? "the option `%s` must be \"display\" or \"speech\""
                                 : "the option `%s` is not of its type or range",
                             strlen(name) <= 64 ? name : "...");
}

int ulm_dbus_read_options(sd_bus_message *m, struct ulm_dbus_args *args, sd_bus_error *error)
{
    unsigned left = VALUES_MAX;
    int r = sd_bus_message_enter_container(m, 'a', "{sv}");
    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
        const char *name, *type;
        char kind;
        if (left-- == 0)
            return sd_bus_error_set(error, ulm_dbus_error_name(ULM_ERROR_TOO_LONG),
                                    "there are too many options");
        r = sd_bus_message_read(m, "s", &name);
        if (r >= 0)
            r = sd_bus_message_peek_type(m, &kind, &type);
        if (r >= 0)
            r = sd_bus_message_enter_container(m, 'v', type);
        if (r < 0)
            break;
        r = read_option(m, name, type, args, &left);
        if (r < 0)
            return refuse_option(name, r, error);
        r = sd_bus_message_exit_container(m);
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* JSON as variants: objects are a{sv}, arrays av, null is left out. Milliseconds are d and counts
 * x, whatever their value, so that a client knows what to expect. */
static int append_object(sd_bus_message *m, const cJSON *object, bool fractions);

static int append_array(sd_bus_message *m, const cJSON *array, bool fractions);

static int append_value(sd_bus_message *m, const cJSON *item, bool fractions)
{
    if (cJSON_IsString(item))
        return sd_bus_message_append(m, "v", "s", item->valuestring);
    if (cJSON_IsBool(item))
        return sd_bus_message_append(m, "v", "b", cJSON_IsTrue(item));
    if (cJSON_IsNumber(item))
        return fractions ? sd_bus_message_append(m, "v", "d", item->valuedouble)
                         : sd_bus_message_append(m, "v", "x", (int64_t)item->valuedouble);
    bool object = cJSON_IsObject(item);
    int r = sd_bus_message_open_container(m, 'v', object ? "a{sv}" : "av");
    if (r >= 0)
        r = object ? append_object(m, item, fractions) : append_array(m, item, fractions);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_array(sd_bus_message *m, const cJSON *array, bool fractions)
{
    int r = sd_bus_message_open_container(m, 'a', "v");
    for (const cJSON *e = array->child; e && r >= 0; e = e->next)
        r = cJSON_IsNull(e) ? 0 : append_value(m, e, fractions);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static bool is_milliseconds(const char *name)
{
    size_t len = strlen(name);
    return strcmp(name, "latency") == 0 || (len > 3 && strcmp(name + len - 3, "_ms") == 0);
}

static int append_object(sd_bus_message *m, const cJSON *object, bool fractions)
{
    int r = sd_bus_message_open_container(m, 'a', "{sv}");
    for (const cJSON *e = object->child; e && r >= 0; e = e->next) {
        if (cJSON_IsNull(e))
            continue;
        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
            r = sd_bus_message_append(m, "s", e->string);
        if (r >= 0)
            r = append_value(
                m, e, (fractions || is_milliseconds(e->string)) && strcmp(e->string, "n") != 0);
        if (r >= 0)
            r = sd_bus_message_close_container(m);
    }
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int ulm_dbus_append_json(sd_bus_message *reply, const char *members)
{
    ULM_CLEANUP_BUF struct ulm_buf text = ULM_BUF_INIT(ULM_OUTPUT_QUEUE_MAX);
    members += *members == ',';
    int r = ulm_buf_add_fmt(&text, "{%s}", members);
    if (r < 0)
        return r;
    cJSON *tree = cJSON_Parse(ulm_buf_str(&text));
    if (!tree)
        return -ENOMEM;
    r = append_object(reply, tree, /* fractions */ false);
    cJSON_Delete(tree);
    return r;
}
