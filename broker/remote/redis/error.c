/* SPDX-License-Identifier: MIT */
/* The kinds of errors. */
#include "remote/redis/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static bool is_kind(const char *text, const char *kind)
{
    size_t length = strcspn(text, " \r\n");
    return strlen(kind) == length && memcmp(text, kind, length) == 0;
}

enum redis_about redis_error_about(const char *text)
{
    static const struct {
        const char *kind;
        enum redis_about about;
    } kinds[] = {
        {"ERR", REDIS_ABOUT_KEY},        {"WRONGTYPE", REDIS_ABOUT_KEY},
        {"MOVED", REDIS_ABOUT_KEY}, /* a cluster: the key is on another server */
        {"ASK", REDIS_ABOUT_KEY},        {"TRYAGAIN", REDIS_ABOUT_KEY},
        {"CROSSSLOT", REDIS_ABOUT_KEY},  {"NOPERM", REDIS_ABOUT_RIGHTS},
        {"OOM", REDIS_ABOUT_WRITES},     {"READONLY", REDIS_ABOUT_WRITES},
        {"MISCONF", REDIS_ABOUT_WRITES}, {"NOREPLICAS", REDIS_ABOUT_WRITES},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (is_kind(text, kinds[i].kind))
            return kinds[i].about;
    return REDIS_ABOUT_SERVER;
}

enum redis_about redis_errors_count(struct redis_errors *errors, const char *text)
{
    if (is_kind(text, "OOM"))
        errors->out_of_memory++;
    else if (is_kind(text, "READONLY"))
        errors->read_only++;
    else
        errors->other++;
    return redis_error_about(text);
}
