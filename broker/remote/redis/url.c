/* SPDX-License-Identifier: MIT */
/* Where a Redis is. */
#include "remote/redis/url.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PORT 6379u
#define DATABASE_MAX 65535ul

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes the %XX in text[0..length). False: too long, an invalid escape, or a zero byte. */
static bool unescape(const char *text, size_t length, char *ret, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        int value = (unsigned char)text[i];
        if (text[i] == '%') {
            int high = i + 2 < length ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < length ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            value = high * 16 + low;
            i += 2;
        }
        if (value == 0 || used + 1 >= size)
            return false;
        ret[used++] = (char)value;
    }
    ret[used] = 0;
    return true;
}

static bool number(const char *text, size_t length, unsigned long most, unsigned long *ret)
{
    unsigned long value = 0;
    if (length == 0 || length > 9)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (unsigned long)(text[i] - '0');
    }
    *ret = value;
    return value <= most;
}

static int wrong(struct swi_error *error, const char *what)
{
    return swi_fail(error, -EINVAL,
                    "the Redis URL %s; expected redis://[[user]:password@]host[:port][/database], "
                    "rediss://… or unix://[[user]:password@]/path[?db=database]",
                    what);
}

/* USER:PASSWORD: the part of the authority before its last '@'. */
static int take_secrets(const char *text, size_t length, struct redis_address *ret,
                        struct swi_error *error)
{
    const char *colon = memchr(text, ':', length);
    size_t user = colon ? (size_t)(colon - text) : length;
    if (!unescape(text, user, ret->user, sizeof ret->user))
        return wrong(error, "has a user name that is too long or contains an invalid %XX");
    if (colon && !unescape(colon + 1, length - user - 1, ret->password, sizeof ret->password))
        return wrong(error, "has a password that is too long or contains an invalid %XX");
    if (ret->user[0] && !ret->password[0])
        return wrong(error, "names a user without a password");
    return 0;
}

static int take_database(const char *text, size_t length, struct redis_address *ret,
                         struct swi_error *error)
{
    unsigned long database;
    if (!number(text, length, DATABASE_MAX, &database))
        return wrong(error, "has a database that is not a number from 0 to 65535");
    ret->database = (unsigned)database;
    return 0;
}

static int take_host(const char *text, size_t length, struct redis_address *ret,
                     struct swi_error *error)
{
    size_t host = length;
    const char *port = NULL;
    if (length > 0 && text[0] == '[') {
        const char *close = memchr(text, ']', length);
        if (!close)
            return wrong(error, "has an unclosed bracket");
        host = (size_t)(close - text) - 1;
        text++;
        length--;
        if (close[1] == ':' && host + 1 < length)
            port = close + 1;
        else if (host + 1 != length)
            return wrong(error, "has something other than a port after its bracket");
    } else {
        port = memchr(text, ':', length);
        host = port ? (size_t)(port - text) : length;
    }
    if (host == 0 || host >= sizeof ret->host)
        return wrong(error, "has no host, or one that is too long");
    for (size_t i = 0; i < host; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
            return wrong(error, "has a host with a space or a control character");
    memcpy(ret->host, text, host);
    ret->host[host] = 0;
    unsigned long value = DEFAULT_PORT;
    if (port &&
        (!number(port + 1, (size_t)(text + length - port - 1), 65535, &value) || value == 0))
        return wrong(error, "has a port that is not a number from 1 to 65535");
    ret->port = (uint16_t)value;
    return 0;
}

static int take_path(const char *text, size_t length, struct redis_address *ret,
                     struct swi_error *error)
{
    const char *query = memchr(text, '?', length);
    size_t path = query ? (size_t)(query - text) : length;
    if (path < 2 || text[0] != '/' || !unescape(text, path, ret->path, sizeof ret->path))
        return wrong(error, "has no absolute path of at most 107 bytes");
    if (!query)
        return 0;
    if (strncmp(query, "?db=", 4) != 0)
        return wrong(error, "has a parameter other than db");
    return take_database(query + 4, length - path - 4, ret, error);
}

int redis_url_parse(const char *url, struct redis_address *ret, struct swi_error *error)
{
    static const struct {
        const char *scheme;
        enum redis_transport transport;
    } schemes[] = {{"redis://", REDIS_TCP}, {"rediss://", REDIS_TLS}, {"unix://", REDIS_UNIX}};
    struct redis_address address = {.database = 0};
    const char *rest = NULL;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i].scheme);
        if (strncmp(url, schemes[i].scheme, length) == 0) {
            rest = url + length;
            address.transport = schemes[i].transport;
        }
    }
    if (!rest)
        return wrong(error, "has an unknown scheme");
    bool local = address.transport == REDIS_UNIX;
    /* a password may contain '@', and so may a path: only those before the path count */
    size_t authority = strcspn(rest, "/");
    const char *at = memrchr(rest, '@', authority);
    int result = 0;
    if (at) {
        result = take_secrets(rest, (size_t)(at - rest), &address, error);
        authority -= (size_t)(at + 1 - rest);
        rest = at + 1;
    }
    if (result == 0 && local && authority != 0)
        result = wrong(error, "has a host before the socket's path");
    if (result == 0 && local)
        result = take_path(rest, strlen(rest), &address, error);
    else if (result == 0)
        result = take_host(rest, authority, &address, error);
    if (result == 0 && !local && rest[authority] == '/' && rest[authority + 1])
        result = take_database(rest + authority + 1, strlen(rest + authority + 1), &address, error);
    if (result == 0)
        *ret = address;
    return result;
}

void redis_url_describe(const struct redis_address *address, char *text, size_t size)
{
    if (address->transport == REDIS_UNIX) {
        (void)snprintf(text, size, "unix://%s%s", address->path, address->database ? "?db=" : "");
        size_t used = strlen(text);
        if (address->database)
            (void)snprintf(text + used, size - used, "%u", address->database);
        return;
    }
    bool v6 = strchr(address->host, ':') != NULL;
    (void)snprintf(text, size, "%s://%s%s%s:%u/%u",
                   address->transport == REDIS_TLS ? "rediss" : "redis", v6 ? "[" : "",
                   address->host, v6 ? "]" : "", address->port, address->database);
}
