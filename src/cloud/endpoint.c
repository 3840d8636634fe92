/* SPDX-License-Identifier: MIT */
#include "cloud/endpoint.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud/dialect.h"

static int bad(const struct ulm_endpoint_config *config, char *reterr, size_t size,
               const char *format, ...) __attribute__((format(printf, 4, 5)));

static int bad(const struct ulm_endpoint_config *config, char *reterr, size_t size,
               const char *format, ...)
{
    va_list args;
    const char *name = config->name ? config->name : "", *where = config->where;
    int n = snprintf(reterr, size, "%s%s[cloud%s%s] ", where ? where : "", where ? ": " : "",
                     name[0] ? "." : "", name);
    if (n < 0 || (size_t)n >= size)
        return -EINVAL;
    va_start(args, format);
    (void)vsnprintf(reterr + n, size - (size_t)n, format, args);
    va_end(args);
    return -EINVAL;
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    if (strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

/* The parts of a URL; curl_free each. */
struct parts {
    char *user, *password, *fragment, *scheme, *host, *path;
};

static void parts_deinit(struct parts *parts)
{
    curl_free(parts->user);
    curl_free(parts->password);
    curl_free(parts->fragment);
    curl_free(parts->scheme);
    curl_free(parts->host);
    curl_free(parts->path);
}

static char *whole_url(CURLU *url)
{
    char *text = NULL, *copy;
    if (curl_url_get(url, CURLUPART_URL, &text, 0))
        return NULL;
    copy = strdup(text);
    curl_free(text);
    return copy;
}

static int set_url(struct ulm_endpoint *endpoint, CURLU *url, struct parts *parts,
                   const struct ulm_endpoint_config *config, char *reterr, size_t size)
{
    if (curl_url_set(url, CURLUPART_URL, config->url, 0))
        return bad(config, reterr, size, "url is none that can be used");
    (void)curl_url_get(url, CURLUPART_USER, &parts->user, 0);
    (void)curl_url_get(url, CURLUPART_PASSWORD, &parts->password, 0);
    (void)curl_url_get(url, CURLUPART_FRAGMENT, &parts->fragment, 0);
    if (parts->user || parts->password)
        return bad(config, reterr, size, "url must not hold a user or a password");
    if (parts->fragment)
        return bad(config, reterr, size, "url must not hold a fragment");
    if (curl_url_get(url, CURLUPART_SCHEME, &parts->scheme, 0) ||
        curl_url_get(url, CURLUPART_HOST, &parts->host, 0) ||
        curl_url_get(url, CURLUPART_PATH, &parts->path, 0))
        return bad(config, reterr, size, "url needs a scheme and a host");

    endpoint->https = strcmp(parts->scheme, "https") == 0;
    if (!endpoint->https && strcmp(parts->scheme, "http") != 0)
        return bad(config, reterr, size, "url must begin with https:// or http://");
    bool local = config->unix_socket || (is_loopback(parts->host) && !config->proxy);
    if (!endpoint->https && !local && !config->allow_http)
        return bad(config, reterr, size,
                   "url is plain http to another machine: use https, or set allow_http");

    char path[2048];
    size_t len = strlen(parts->path);
    while (len > 0 && parts->path[len - 1] == '/')
        len--;
    int n = snprintf(path, sizeof path, "%.*s%s", (int)len, parts->path, endpoint->dialect->path);
    if (n < 0 || (size_t)n >= sizeof path)
        return bad(config, reterr, size, "url is too long");
    endpoint->base_url = whole_url(url);
    if (curl_url_set(url, CURLUPART_PATH, path, 0))
        return -ENOMEM;
    endpoint->url = whole_url(url);
    return endpoint->base_url && endpoint->url ? 0 : -ENOMEM;
}

static int read_url(struct ulm_endpoint *endpoint, const struct ulm_endpoint_config *config,
                    char *reterr, size_t size)
{
    struct parts parts = {0};
    CURLU *url = curl_url();
    if (!url)
        return -ENOMEM;
    int r = set_url(endpoint, url, &parts, config, reterr, size);
    parts_deinit(&parts);
    curl_url_cleanup(url);
    return r;
}

/* As libcurl will read it, which says so only when the first request fails. */
static int check_proxy(const struct ulm_endpoint_config *config, char *reterr, size_t size)
{
    static const char *const schemes[] = {"http",   "https",   "socks",  "socks4",
                                          "socks4a", "socks5", "socks5h"};
    char *scheme = NULL;
    bool known = false;
    CURLU *url = curl_url();
    if (!url)
        return -ENOMEM;
    if (curl_url_set(url, CURLUPART_URL, config->proxy,
                     CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME) == CURLUE_OK)
        (void)curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
    for (size_t i = 0; scheme && i < sizeof schemes / sizeof *schemes; i++)
        known = known || strcasecmp(scheme, schemes[i]) == 0;
    curl_free(scheme);
    curl_url_cleanup(url);
    return known ? 0
                 : bad(config, reterr, size,
                       "proxy is none that can be used: it is [http, https, socks4, socks4a, "
                       "socks5 or socks5h://]HOST[:PORT]");
}

/* Printable, and nothing that could end a header line. */
static bool is_header_text(const char *text, bool spaces)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7F || (c == ' ' && !spaces))
            return false;
    }
    return true;
}

/* "Name: value" with a value, and a name that is not the transport's own business. */
static bool is_good_header(const char *header)
{
    static const char *const ours[] = {"Host",       "Content-Length", "Transfer-Encoding",
                                       "Connection", "Content-Type",   "Expect"};
    const char *colon = strchr(header, ':');
    if (!colon || colon == header || !is_header_text(header, true))
        return false;
    size_t len = (size_t)(colon - header);
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)header[i]) && !strchr("!#$%&'*+-.^_`|~", header[i]))
            return false;
    }
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (strlen(ours[i]) == len && strncasecmp(header, ours[i], len) == 0)
            return false;
    }
    return colon[1 + strspn(colon + 1, " ")] != '\0';
}

static bool same_name(const char *a, const char *b)
{
    size_t len = strcspn(a, ":");
    return strcspn(b, ":") == len && strncasecmp(a, b, len) == 0;
}

/* Not curl_slist_append, because that copies and the key must not be copied. text is owned by the
 * list unless it is the key's. */
static void add_header(struct ulm_endpoint *endpoint, char *text)
{
    struct curl_slist *node = &endpoint->headers[endpoint->n_headers];
    node->data = text;
    if (endpoint->n_headers > 0)
        node[-1].next = node;
    endpoint->n_headers++;
}

static int add_header_copy(struct ulm_endpoint *endpoint, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    add_header(endpoint, copy);
    return 0;
}

static int read_headers(struct ulm_endpoint *endpoint, const struct ulm_endpoint_config *config,
                        char *reterr, size_t size)
{
    const char *ours[] = {"Content-Type: application/json", "Expect:",
                          endpoint->dialect->ndjson ? "Accept: application/x-ndjson"
                                                    : "Accept: text/event-stream",
                          endpoint->dialect->fixed_header};
    size_t n_ours = sizeof ours / sizeof *ours;
    int r = 0;

    endpoint->headers = calloc(n_ours + config->n_extra_headers + 1, sizeof *endpoint->headers);
    if (!endpoint->headers)
        return -ENOMEM;
    endpoint->n_headers = 0;
    for (size_t i = 0; i < config->n_extra_headers; i++) {
        if (!is_good_header(config->extra_headers[i]))
            return bad(config, reterr, size, "extra_headers: entry %zu is no \"Name: value\" "
                       "that may be set", i + 1);
        r = add_header_copy(endpoint, config->extra_headers[i]);
        if (r < 0)
            return r;
    }
    size_t n_extra = endpoint->n_headers;
    for (size_t i = 0; i < n_ours && r == 0; i++) {
        bool given = !ours[i];
        for (size_t k = 0; k < n_extra && !given; k++)
            given = same_name(ours[i], endpoint->headers[k].data);
        if (!given)
            r = add_header_copy(endpoint, ours[i]);
    }
    if (r < 0 || !config->key)
        return r;

    const char *start = endpoint->dialect->key_header;
    if (strlen(config->key) > ULM_KEY_MAX || config->key[0] == '\0' ||
        !is_header_text(config->key, false))
        return bad(config, reterr, size, "the key is empty, too long, or holds a space or a "
                   "control character");
    r = ulm_secret_init(&endpoint->key, start ? start : "Authorization: Bearer ", config->key);
    if (r == 0)
        add_header(endpoint, endpoint->key.text);
    return r;
}

/* 0 or -ENOMEM; NULL and "" stay NULL. */
static int copy(char **ret, const char *text)
{
    *ret = text && text[0] ? strdup(text) : NULL;
    return text && text[0] && !*ret ? -ENOMEM : 0;
}

static int copy_texts(struct ulm_endpoint *endpoint, const struct ulm_endpoint_config *config)
{
    for (size_t i = 0; i < ULM_PROMPT_N; i++) {
        endpoint->prompts[i] = strdup(config->prompts[i] ? config->prompts[i] : "");
        if (!endpoint->prompts[i])
            return -ENOMEM;
    }
    endpoint->model = strdup(config->model ? config->model : "");
    if (!endpoint->model || copy(&endpoint->reasoning_effort, config->reasoning_effort) < 0 ||
        copy(&endpoint->unix_socket, config->unix_socket) < 0 ||
        copy(&endpoint->ca_file, config->ca_file) < 0 ||
        copy(&endpoint->pinned_key, config->pinned_key) < 0 ||
        copy(&endpoint->proxy, config->proxy) < 0)
        return -ENOMEM;
    return 0;
}

int ulm_endpoint_init(struct ulm_endpoint *endpoint, const struct ulm_endpoint_config *config,
                      char *reterr, size_t reterr_size)
{
    *endpoint = (struct ulm_endpoint){
        .dialect = ulm_dialect_table(config->dialect),
        .mode = config->mode,
        .max_tokens = config->max_tokens ? config->max_tokens : ULM_CLOUD_MAX_TOKENS,
        .keepalive_s = config->keepalive_s ? config->keepalive_s : ULM_CLOUD_KEEPALIVE_S,
        .hedge = config->hedge,
    };
    for (size_t i = 0; i < ULM_ENDPOINT_SOCKETS_MAX; i++)
        endpoint->sockets[i] = CURL_SOCKET_BAD;
    endpoint->name = strdup(config->name ? config->name : "");
    if (!endpoint->name)
        return -ENOMEM;
    int r = copy_texts(endpoint, config);
    if (r < 0)
        return r;
    if (!config->url || config->url[0] == '\0')
        return bad(config, reterr, reterr_size, "url is missing");
    if (endpoint->mode == ULM_CLOUD_PREFILL && !endpoint->dialect->has_prefill)
        return bad(config, reterr, reterr_size, "dialect %s has no prefill mode",
                   endpoint->dialect->name);
    struct stat st;
    if (endpoint->ca_file &&
        (stat(endpoint->ca_file, &st) != 0 || access(endpoint->ca_file, R_OK) != 0))
        return bad(config, reterr, reterr_size, "ca_file cannot be read: %s", strerror(errno));
    if (endpoint->ca_file && !S_ISREG(st.st_mode)) /* a pipe would hold up whoever reads it */
        return bad(config, reterr, reterr_size, "ca_file is not a regular file");
    r = endpoint->proxy ? check_proxy(config, reterr, reterr_size) : 0;
    if (r == 0)
        r = read_url(endpoint, config, reterr, reterr_size);
    return r < 0 ? r : read_headers(endpoint, config, reterr, reterr_size);
}

void ulm_endpoint_deinit(struct ulm_endpoint *endpoint)
{
    for (size_t i = 0; i < endpoint->n_headers; i++) {
        if (endpoint->headers[i].data != endpoint->key.text)
            free(endpoint->headers[i].data);
    }
    free(endpoint->headers);
    ulm_secret_deinit(&endpoint->key);
    for (size_t i = 0; i < ULM_PROMPT_N; i++)
        free(endpoint->prompts[i]);
    free(endpoint->name);
    free(endpoint->base_url);
    free(endpoint->url);
    free(endpoint->model);
    free(endpoint->reasoning_effort);
    free(endpoint->unix_socket);
    free(endpoint->ca_file);
    free(endpoint->pinned_key);
    free(endpoint->proxy);
    *endpoint = (struct ulm_endpoint){0};
}

static curl_socket_t on_open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *addr)
{
    struct ulm_endpoint *endpoint = data;
    curl_socket_t fd = socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
    for (size_t i = 0; fd != CURL_SOCKET_BAD && i < ULM_ENDPOINT_SOCKETS_MAX; i++) {
        if (endpoint->sockets[i] == CURL_SOCKET_BAD) {
            endpoint->sockets[i] = fd;
            break;
        }
    }
    return fd;
}

static int on_close_socket(void *data, curl_socket_t fd)
{
    struct ulm_endpoint *endpoint = data;
    for (size_t i = 0; i < ULM_ENDPOINT_SOCKETS_MAX; i++) {
        if (endpoint->sockets[i] == fd)
            endpoint->sockets[i] = CURL_SOCKET_BAD;
    }
    return close(fd);
}

/* A network that went away tells nobody. Data that nobody acknowledges for this long ends the
 * connection, while there is still time to ask again over a new one. */
static int on_socket_options(void *data, curl_socket_t fd, curlsocktype purpose)
{
    unsigned timeout_ms = 2000;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    return CURL_SOCKOPT_OK;
}

unsigned ulm_endpoint_live_connections(const struct ulm_endpoint *endpoint)
{
    unsigned live = 0;
    for (size_t i = 0; i < ULM_ENDPOINT_SOCKETS_MAX; i++) {
        struct pollfd fd = {.fd = endpoint->sockets[i], .events = POLLRDHUP};
        if (fd.fd != CURL_SOCKET_BAD && poll(&fd, 1, 0) == 0)
            live++;
    }
    return live;
}

int ulm_endpoint_prepare(struct ulm_endpoint *endpoint, CURL *easy)
{
    CURLcode r = CURLE_OK;
#define SET(option_, value_) \
    if (r == CURLE_OK)       \
    r = curl_easy_setopt(easy, option_, value_)
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* or a cancel waits for a name server that does not answer */
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_USERAGENT, "ulmd/" ULMD_VERSION);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_PROXY, endpoint->proxy ? endpoint->proxy : ""); /* "": not the environment's */
    SET(CURLOPT_NOPROXY, "");
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (endpoint->ca_file) {
        SET(CURLOPT_CAINFO, endpoint->ca_file);
        SET(CURLOPT_CAPATH, (char *)NULL);
        SET(CURLOPT_PROXY_CAINFO, endpoint->ca_file);
    }
    if (endpoint->pinned_key)
        SET(CURLOPT_PINNEDPUBLICKEY, endpoint->pinned_key);
    if (endpoint->unix_socket)
        SET(CURLOPT_UNIX_SOCKET_PATH, endpoint->unix_socket);
    SET(CURLOPT_HTTP_VERSION,
        (long)(endpoint->https ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    SET(CURLOPT_PIPEWAIT, 1L); /* share the connection that is being warmed */
    SET(CURLOPT_MAXAGE_CONN, (long)endpoint->keepalive_s);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_SOCKOPTFUNCTION, on_socket_options);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, endpoint);
    SET(CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    SET(CURLOPT_CLOSESOCKETDATA, endpoint);
#undef SET
    return r == CURLE_OK ? 0 : -ENOMEM;
}
