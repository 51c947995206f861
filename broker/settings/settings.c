/* SPDX-License-Identifier: MIT */
/* The table of settings, and the functions that parse their values. */
#include "settings/settings.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "core/layout.h"
#include "core/size.h"
#include "core/socket.h"

#define HELP_WIDTH 68u
#define SHOWN_MAX  100000u /* --help omits ranges beyond this */

/* ---- values ---------------------------------------------------------------------------------- */

static bool parse_text(const struct setting *setting, const char *text, void *member)
{
    (void)setting;
    *(const char **)member = text;
    return !text || text[0];
}

static bool parse_size(const struct setting *setting, const char *text, void *member)
{
    uint64_t bytes = 0;
    if (text && (!swi_size_parse(text, &bytes) || bytes < setting->least))
        return false;
    *(uint64_t *)member = bytes;
    return true;
}

static bool parse_number(const struct setting *setting, const char *text, void *member)
{
    uint64_t number = 0;
    if (text && !cli_number(text, setting->least, setting->most, &number))
        return false;
    *(uint32_t *)member = (uint32_t)number;
    return true;
}

static bool parse_idle(const struct setting *setting, const char *text, void *member)
{
    if (text)
        return parse_number(setting, text, member);
    *(uint32_t *)member = OPTIONS_NEVER_IDLE;
    return true;
}

static bool parse_mode(const struct setting *setting, const char *text, void *member)
{
    unsigned long mode = 0;
    char *end = NULL;
    if (text)
        mode = strtoul(text, &end, 8);
    if (text && (!isdigit((unsigned char)text[0]) || *end || mode > setting->most))
        return false;
    *(mode_t *)member = (mode_t)mode;
    return true;
}

static bool parse_choice(const struct setting *setting, const char *text, void *member)
{
    int choice = text ? cli_choice(setting->choices, text) : -1;
    if (choice < 0)
        return false;
    memcpy(member, &choice, sizeof choice); /* the enumerations have no negative members */
    return true;
}

static bool parse_group(const struct setting *setting, const char *text, void *member)
{
    gid_t gid = OPTIONS_NO_GROUP;
    uint64_t number;
    if (text && cli_number(text, 0, OPTIONS_NO_GROUP - 1, &number)) {
        gid = (gid_t)number;
    } else if (text) {
        const struct group *group = getgrnam(text);
        if (!group)
            return false;
        gid = group->gr_gid;
    }
    (void)setting;
    *(gid_t *)member = gid;
    return true;
}

/* ---- the table ------------------------------------------------------------------------------- */

static const char *const policies[] = {"lru", "next-use", NULL};
static const char *const engines[] = {"auto", "uring", "threads", NULL};
const char *const redis_mode_names[] = {"read-write", "read-only", "write-only", NULL};
const char *const redis_order_names[] = {"local-first", "redis-first", NULL};
static const char *const levels[] = {"error", "warning", "info", "debug", NULL};
_Static_assert(POLICY_NEXT_USE == 1 && LOADER_THREADS == 2 && REDIS_WRITE_ONLY == 2 &&
                   REDIS_REDIS_FIRST == 1 && LOG_LEVEL_DEBUG == 3,
               "the choices are in the order of their enumerations");

#define INTO(member) .offset = offsetof(struct broker_options, member)
#define A_GROUP      "the name or number of a group that exists"

const struct setting settings_table[] = {
    {"catalog", "chunks-dir", .argument = "DIR", .parse = parse_text, INTO(chunks_dir),
     .expected = "a directory", .required = true,
     .help = "a model's directory written by swchunk, or a folder of them"},
    {"catalog", "models", .argument = "NAME,...", .parse = parse_text, INTO(models),
     .expected = "model names, separated by commas", .otherwise = "none",
     .help = "serve these models from Redis if DIR does not have them;\n"
             "without DIR, serve only these"},
    {"cache", "cache-size", .argument = "SIZE", .parse = parse_size, INTO(cache_bytes),
     .least = 1 << 20, .otherwise = "twice the models' size, from 16M to 1G",
     .help = "memory for weights, in MB or with a unit, such as 512M or 2G"},
    {"cache", "max-cache-size", .argument = "SIZE", .parse = parse_size, INTO(max_cache_bytes),
     .otherwise = "four times the cache size, at most the machine's memory",
     .help = "upper limit for swctl resize"},
    {"cache", "policy", .argument = "POLICY", .parse = parse_choice, INTO(policy),
     .choices = policies, .fallback = "next-use",
     .help = "evict the least recently used chunk, or the one needed furthest\n"
             "in the future"},
    {"cache", "io-engine", .argument = "ENGINE", .parse = parse_choice, INTO(engine),
     .choices = engines, .fallback = "auto",
     .help =
         "read files with io_uring or with threads; auto uses io_uring\nif the kernel allows it"},
    {"cache", "trace", .argument = "FILE", .parse = parse_text, INTO(trace_path),
     .expected = "a file to write", .otherwise = "none",
     .help = "write every use of a chunk to FILE, for swbench policy"},
    {"socket", "socket", .environment = "SW_SOCKET", .argument = "PATH", .parse = parse_text,
     INTO(socket_path), .expected = "a path", .fallback = SWI_DEFAULT_SOCKET,
     .help = "listen on this socket; its variable is $SW_SOCKET"},
    {"socket", "socket-mode", .argument = "MODE", .parse = parse_mode, INTO(socket_mode),
     .most = 0777, .expected = "an octal mode, such as 0660", .fallback = "0660",
     .help = "permissions of the socket, in octal"},
    {"socket", "socket-group", .argument = "GROUP", .parse = parse_group, INTO(socket_gid),
     .expected = A_GROUP, .otherwise = "the broker's own group",
     .help = "group of the socket, whose members may use the cache and the\n"
             "reading commands of swctl"},
    {"socket", "admin-group", .argument = "GROUP", .parse = parse_group, INTO(admin_gid),
     .expected = A_GROUP, .otherwise = "none",
     .help = "group whose members may make changes with swctl, besides root\n"
             "and the broker's own user"},
    {"clients", "max-sessions", .argument = "N", .parse = parse_number, INTO(max_sessions),
     .least = 1, .most = SWI_SESSIONS, .fallback = "256",
     .help = "how many clients may connect at once"},
    {"clients", "max-pinned", .argument = "SIZE", .parse = parse_size, INTO(max_pinned_bytes),
     .otherwise = "half of the cache",
     .help = "how much one client may pin before its leases are revoked"},
    {"clients", "exit-when-idle", .argument = "SECONDS", .parse = parse_idle, INTO(idle_s),
     .most = OPTIONS_IDLE_MAX_S, .otherwise = "never",
     .help = "exit when no client has been connected for this long"},
    {"redis", "redis-url", .environment = "SW_REDIS_URL", .argument = "URL", .parse = parse_text,
     INTO(redis.url), .expected = "a URL", .otherwise = "none", .secret = true,
     .help = "share chunks with other hosts through Redis: redis://HOST:PORT/DB,\n"
             "rediss://... (TLS) or unix:///PATH; put a URL with a password into\n"
             "$SW_REDIS_URL, since ps shows command lines"},
    {"redis", "redis-mode", .argument = "MODE", .parse = parse_choice, INTO(redis.mode),
     .choices = redis_mode_names, .fallback = "read-write",
     .help = "read from Redis, write to it, or both"},
    {"redis", "redis-order", .argument = "ORDER", .parse = parse_choice, INTO(redis.order),
     .choices = redis_order_names, .fallback = "local-first",
     .help = "try the chunk's file first, or Redis"},
    {"redis", "redis-timeout", .argument = "MS", .parse = parse_number, INTO(redis.timeout_ms),
     .least = 1, .most = OPTIONS_REDIS_TIMEOUT_MS_MAX, .fallback = "500",
     .help = "how long to wait for one answer"},
    {"redis", "redis-ttl", .argument = "SECONDS", .parse = parse_number, INTO(redis.ttl_s),
     .most = OPTIONS_REDIS_TTL_S_MAX, .fallback = "0",
     .help = "how long written keys stay; 0: as long as Redis keeps them"},
    {"redis", "redis-prefix", .argument = "PREFIX", .parse = parse_text, INTO(redis.prefix),
     .expected = "a prefix", .fallback = "sw", .help = "prefix of every key"},
    {"redis", "redis-ca", .argument = "FILE", .parse = parse_text, INTO(redis.ca),
     .expected = "a file of certificates", .otherwise = "the machine's authorities",
     .help = "certificates to trust for rediss://"},
    {"redis", "redis-cert", .argument = "FILE", .parse = parse_text, INTO(redis.cert),
     .expected = "a file with a certificate", .otherwise = "none",
     .help = "the broker's certificate, for a Redis that requires one"},
    {"redis", "redis-key", .argument = "FILE", .parse = parse_text, INTO(redis.key),
     .expected = "a file with a key", .otherwise = "none",
     .help = "key of that certificate, without a passphrase"},
    {"log", "log-level", .argument = "LEVEL", .parse = parse_choice, INTO(log_level),
     .choices = levels, .fallback = "info",
     .help = "least urgent lines to log; debug logs every client and model"},
};
const size_t settings_count = sizeof settings_table / sizeof settings_table[0];
_Static_assert(sizeof settings_table / sizeof settings_table[0] <= SETTINGS_MAX, "");

int settings_find(const char *name)
{
    for (size_t i = 0; i < settings_count; i++)
        if (strcmp(settings_table[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* ---- values and their origins ---------------------------------------------------------------- */

const char *settings_variable(size_t index, char *text, size_t size)
{
    const struct setting *setting = &settings_table[index];
    if (setting->environment) {
        (void)snprintf(text, size, "%s", setting->environment);
        return text;
    }
    (void)snprintf(text, size, "SWBROKERD_%s", setting->name);
    for (char *c = text; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    return text;
}

void settings_where(const struct settings *settings, size_t index, char *text, size_t size)
{
    const struct settings_value *value = &settings->values[index];
    const struct setting *setting = &settings_table[index];
    char variable[64];
    switch (value->origin) {
    case SETTINGS_FROM_FLAG:
        (void)snprintf(text, size, "--%s", setting->name);
        break;
    case SETTINGS_FROM_ENVIRONMENT:
        (void)snprintf(text, size, "$%s", settings_variable(index, variable, sizeof variable));
        break;
    case SETTINGS_FROM_FILE:
        (void)snprintf(text, size, "%s:%u: %s", settings->file, value->line, setting->name);
        break;
    default:
        (void)snprintf(text, size, "the default of --%s", setting->name);
        break;
    }
}

const char *settings_expected(const struct setting *setting, char *text, size_t size)
{
    unsigned unused;
    uint64_t unused_bytes;
    struct cli_option option = {.expected = setting->expected,
                                .choices = setting->choices,
                                .choice = setting->choices ? &unused : NULL,
                                .bytes = setting->parse == parse_size ? &unused_bytes : NULL,
                                .least = setting->least,
                                .most = setting->most};
    const char *expected = cli_expected(&option, text, size);
    if (!option.bytes || setting->least == 0)
        return expected;
    char least[32];
    swi_size_format(setting->least, least, sizeof least);
    (void)snprintf(text, size, "%s, at least %s", expected, least);
    return text;
}

void settings_help(const struct setting *setting, char *text, size_t size)
{
    bool listed = setting->choices || (setting->parse == parse_number && setting->most < SHOWN_MAX);
    const char *fallback = setting->fallback ? setting->fallback : setting->otherwise;
    char expected[128] = "", notes[256];
    if (fallback && !setting->fallback && strcmp(fallback, "none") == 0)
        fallback = NULL;
    (void)snprintf(notes, sizeof notes, "%s%s%s%s",
                   listed ? settings_expected(setting, expected, sizeof expected) : "",
                   listed && fallback ? "; " : "", fallback ? "default: " : "",
                   fallback ? fallback : "");
    const char *last = strrchr(setting->help, '\n');
    size_t width = strlen(last ? last + 1 : setting->help) + strlen(notes) + 3;
    if (notes[0])
        (void)snprintf(text, size, "%s%s(%s)", setting->help, width > HELP_WIDTH ? "\n" : " ",
                       notes);
    else
        (void)snprintf(text, size, "%s", setting->help);
}

int settings_set(struct settings *settings, size_t index, const char *text,
                 enum settings_origin origin, unsigned line, struct swi_error *error)
{
    const struct setting *setting = &settings_table[index];
    struct settings_value *value = &settings->values[index];
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        return swi_fail(error, -ENOMEM, "out of memory");
    free(value->text);
    *value = (struct settings_value){.text = copy, .origin = origin, .line = line};
    if (setting->parse(setting, copy, (char *)&settings->options + setting->offset))
        return 0;
    char where[256];
    settings_where(settings, index, where, sizeof where);
    char expected[128];
    return swi_fail(error, -EINVAL, "%s takes %s, not \"%.100s\"", where,
                    settings_expected(setting, expected, sizeof expected),
                    !copy             ? ""
                    : setting->secret ? "..."
                                      : copy);
}

void settings_free(struct settings *settings)
{
    for (size_t i = 0; i < settings_count; i++)
        free(settings->values[i].text);
    free(settings->file);
    *settings = (struct settings){.argc = 0};
}

/* ---- printing -------------------------------------------------------------------------------- */

void settings_print(const struct settings *settings, FILE *stream)
{
    const char *section = "";
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings_table[i];
        const struct settings_value *value = &settings->values[i];
        if (strcmp(section, setting->section) != 0)
            (void)fprintf(stream, "%s[%s]\n", *section ? "\n" : "", setting->section);
        section = setting->section;
        char from[320];
        settings_where(settings, i, from, sizeof from);
        if (value->origin == SETTINGS_FROM_FILE)
            (void)snprintf(from, sizeof from, "%s:%u", settings->file, value->line);
        else if (value->origin == SETTINGS_FROM_DEFAULT)
            (void)snprintf(from, sizeof from, "default%s%s", setting->otherwise ? ": " : "",
                           setting->otherwise ? setting->otherwise : "");
        char line[4608];
        bool hidden = setting->secret && value->text;
        (void)snprintf(line, sizeof line, "%s%s = %s", value->text && !hidden ? "" : "; ",
                       setting->name,
                       hidden        ? "(not shown)"
                       : value->text ? value->text
                                     : "");
        (void)fprintf(stream, "%-40s ; %s\n", line, from);
    }
}
