/* SPDX-License-Identifier: MIT */
/* The kinds of errors. */
#include "remote/redis/error.h"

#include <stddef.h>
#include <string.h>

enum redis_about redis_error_about(const char *text)
{
    static const struct {
        const char *kind;
        enum redis_about about;
    } kinds[] = {
        {"ERR", REDIS_ABOUT_KEY},        {"WRONGTYPE", REDIS_ABOUT_KEY},
        {"MOVED", REDIS_ABOUT_KEY}, /* a cluster: this server has not all of the keys */
        {"ASK", REDIS_ABOUT_KEY},        {"TRYAGAIN", REDIS_ABOUT_KEY},
        {"CROSSSLOT", REDIS_ABOUT_KEY},  {"NOPERM", REDIS_ABOUT_RIGHTS},
        {"OOM", REDIS_ABOUT_WRITES},     {"READONLY", REDIS_ABOUT_WRITES},
        {"MISCONF", REDIS_ABOUT_WRITES}, {"NOREPLICAS", REDIS_ABOUT_WRITES},
    };
    size_t length = strcspn(text, " \r\n");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strlen(kinds[i].kind) == length && memcmp(text, kinds[i].kind, length) == 0)
            return kinds[i].about;
    return REDIS_ABOUT_SERVER;
}
