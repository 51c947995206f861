/* SPDX-License-Identifier: MIT */
/* The table of settings, and how their values are read. */
#include "settings/settings.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>

#include "core/layout.h"
#include "core/size.h"
#include "core/socket.h"

/* ---- values ---------------------------------------------------------------------------------- */

/* Whole and digits only: no sign, no space. */
static bool read_number(const char *text, int base, uint64_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, base);
    if (!isdigit((unsigned char)text[0]) || *end || errno)
        return false;
    *ret = value;
    return true;
}

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
    if (text &&
        (!read_number(text, 10, &number) || number < setting->least || number > setting->most))
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
    uint64_t mode = 0;
    if (text && (!read_number(text, 8, &mode) || mode > setting->most))
        return false;
    *(mode_t *)member = (mode_t)mode;
    return true;
}

static bool parse_choice(const struct setting *setting, const char *text, void *member)
{
    for (unsigned i = 0; text && setting->choices[i]; i++) {
        if (strcmp(text, setting->choices[i]) == 0) {
            memcpy(member, &i, sizeof i); /* the enumerations have no negative members */
            return true;
        }
    }
    return false;
}

static bool parse_group(const struct setting *setting, const char *text, void *member)
{
    gid_t gid = OPTIONS_NO_GROUP;
    uint64_t number;
    if (text && read_number(text, 10, &number) && number < OPTIONS_NO_GROUP) {
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
#define A_SIZE       "a size, such as 512, 512M or 2G"
#define A_GROUP      "the name or number of a group that exists"

const struct setting settings_table[] = {
    {"catalog", "chunks-dir", .argument = "DIR", .parse = parse_text, INTO(chunks_dir),
     .expected = "a directory", .required = true,
     .help = "a model's directory as swchunk wrote it, or a folder of them"},
    {"catalog", "models", .argument = "NAME,...", .parse = parse_text, INTO(models),
     .expected = "model names, separated by commas", .otherwise = "none",
     .help = "serve these from the Redis where DIR does not have them; without DIR,\n"
             "nothing else"},
    {"cache", "cache-size", .argument = "SIZE", .parse = parse_size, INTO(cache_bytes),
     .least = 1 << 20, .expected = "a size of at least 1 MB, such as 512, 512M or 2G",
     .fallback = "1G", .help = "memory for weights: MB, or with a unit (512M, 2G); default 1G"},
    {"cache", "max-cache-size", .argument = "SIZE", .parse = parse_size, INTO(max_cache_bytes),
     .expected = A_SIZE, .otherwise = "four times the cache size, at most the machine's memory",
     .help = "what swctl resize may grow it to; default four times the cache size,\n"
             "at most this machine's memory"},
    {"cache", "policy", .argument = "POLICY", .parse = parse_choice, INTO(policy),
     .choices = policies, .expected = "lru or next-use", .fallback = "next-use",
     .help = "lru, or next-use (default): evict what is needed furthest in the future"},
    {"cache", "io-engine", .argument = "ENGINE", .parse = parse_choice, INTO(engine),
     .choices = engines, .expected = "auto, uring or threads", .fallback = "auto",
     .help = "uring, threads, or auto (default): uring where the kernel allows it"},
    {"cache", "trace", .argument = "FILE", .parse = parse_text, INTO(trace_path),
     .expected = "a file to write", .otherwise = "none",
     .help = "write every use of a chunk to FILE, for swbench policy"},
    {"socket", "socket", .environment = "SW_SOCKET", .argument = "PATH", .parse = parse_text,
     INTO(socket_path), .expected = "a path", .fallback = SWI_DEFAULT_SOCKET,
     .help = "default $SW_SOCKET, else " SWI_DEFAULT_SOCKET},
    {"socket", "socket-mode", .argument = "MODE", .parse = parse_mode, INTO(socket_mode),
     .most = 0777, .expected = "an octal mode, such as 0660", .fallback = "0660",
     .help = "permissions of the socket, octal; default 0660"},
    {"socket", "socket-group", .argument = "GROUP", .parse = parse_group, INTO(socket_gid),
     .expected = A_GROUP, .otherwise = "the broker's own group",
     .help = "group of the socket: its members may use the cache and the reading verbs\n"
             "of swctl; default the broker's own group"},
    {"socket", "admin-group", .argument = "GROUP", .parse = parse_group, INTO(admin_gid),
     .expected = A_GROUP, .otherwise = "none",
     .help = "whose members may change things with swctl, beside root and the\n"
             "broker's own user; default none"},
    {"clients", "max-sessions", .argument = "N", .parse = parse_number, INTO(max_sessions),
     .least = 1, .most = SWI_SESSIONS, .expected = "a number from 1 to 1024", .fallback = "256",
     .help = "clients at once, 1 to 1024; default 256"},
    {"clients", "max-pinned", .argument = "SIZE", .parse = parse_size, INTO(max_pinned_bytes),
     .expected = A_SIZE, .otherwise = "half of the cache",
     .help = "what one client may pin before its leases are revoked; default half\n"
             "of the cache"},
    {"clients", "exit-when-idle", .argument = "SECONDS", .parse = parse_idle, INTO(idle_s),
     .most = OPTIONS_IDLE_MAX_S, .expected = "a number of seconds up to 86400",
     .otherwise = "never", .help = "end when the last client has been gone for so long"},
    {"redis", "redis-url", .environment = "SW_REDIS_URL", .argument = "URL", .parse = parse_text,
     INTO(redis.url), .expected = "a URL", .otherwise = "none", .secret = true,
     .help =
         "share chunks with other hosts through a Redis: redis://HOST:PORT/DB,\n"
         "rediss://... (TLS), unix:///PATH; default $SW_REDIS_URL (a password on the command line\n"
         "shows in ps)"},
    {"redis", "redis-mode", .argument = "MODE", .parse = parse_choice, INTO(redis.mode),
     .choices = redis_mode_names, .expected = "read-write, read-only or write-only",
     .fallback = "read-write", .help = "read-write (default), read-only or write-only"},
    {"redis", "redis-order", .argument = "ORDER", .parse = parse_choice, INTO(redis.order),
     .choices = redis_order_names, .expected = "local-first or redis-first",
     .fallback = "local-first",
     .help = "local-first (default): Redis serves what the files cannot;\n"
             "redis-first: files serve what Redis cannot"},
    {"redis", "redis-timeout", .argument = "MS", .parse = parse_number, INTO(redis.timeout_ms),
     .least = 1, .most = OPTIONS_REDIS_TIMEOUT_MS_MAX, .expected = "milliseconds from 1 to 60000",
     .fallback = "500", .help = "for one answer; default 500"},
    {"redis", "redis-ttl", .argument = "SECONDS", .parse = parse_number, INTO(redis.ttl_s),
     .most = OPTIONS_REDIS_TTL_S_MAX, .expected = "seconds, or 0", .fallback = "0",
     .help = "how long what is written stays; default 0: as long as Redis keeps it"},
    {"redis", "redis-prefix", .argument = "PREFIX", .parse = parse_text, INTO(redis.prefix),
     .expected = "a prefix", .fallback = "sw", .help = "of every key; default sw"},
    {"redis", "redis-ca", .argument = "FILE", .parse = parse_text, INTO(redis.ca),
     .expected = "a file of certificates", .otherwise = "the machine's authorities",
     .help = "certificates of whom to trust with rediss://; default the machine's\n"
             "authorities"},
    {"redis", "redis-cert", .argument = "FILE", .parse = parse_text, INTO(redis.cert),
     .expected = "a file with a certificate", .otherwise = "none",
     .help = "the broker's own certificate, for a Redis that asks for one; default none"},
    {"redis", "redis-key", .argument = "FILE", .parse = parse_text, INTO(redis.key),
     .expected = "a file with a key", .otherwise = "none",
     .help = "the key of that certificate, without a passphrase"},
    {"log", "log-level", .argument = "LEVEL", .parse = parse_choice, INTO(log_level),
     .choices = levels, .expected = "error, warning, info or debug", .fallback = "info",
     .help = "error, warning, info (default) or debug, which tells of every client\n"
             "and model"},
};
const size_t settings_count = sizeof settings_table / sizeof settings_table[0];
_Static_assert(sizeof settings_table / sizeof settings_table[0] <= SETTINGS_MAX, "");
_Static_assert(SWI_SESSIONS == 1024 && OPTIONS_REDIS_TIMEOUT_MS_MAX == 60000 &&
                   OPTIONS_IDLE_MAX_S == 86400,
               "the help says so");

int settings_find(const char *name)
{
    for (size_t i = 0; i < settings_count; i++)
        if (strcmp(settings_table[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* ---- setting, telling ------------------------------------------------------------------------ */

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
    return swi_fail(error, -EINVAL, "%s takes %s, not \"%.100s\"", where, setting->expected,
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
