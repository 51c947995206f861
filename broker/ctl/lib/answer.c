/* SPDX-License-Identifier: MIT */
/* Fields of the broker's answers. */
#include "ctl/lib/answer.h"

#include <stdio.h>

#include "core/size.h"

unsigned long long ctl_count_of(const json_t *object, const char *key)
{
    return (unsigned long long)json_integer_value(json_object_get(object, key));
}

const char *ctl_text_of(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

const char *ctl_size_of(const json_t *object, const char *key)
{
    static char texts[4][32];
    static unsigned next;
    char *text = texts[next++ % 4];
    swi_size_format(ctl_count_of(object, key), text, sizeof texts[0]);
    return text;
}

void ctl_duration(double ms, char *text, size_t size)
{
    static const struct {
        double ms;
        const char *unit;
    } units[] = {{864e5, "d"}, {36e5, "h"}, {6e4, "min"}, {1e3, "s"}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        double value = ms / units[i].ms;
        if (value >= 1) {
            (void)snprintf(text, size, "%.*f %s", value < 10 ? 1 : 0, value, units[i].unit);
            return;
        }
    }
    (void)snprintf(text, size, "%.0f ms", ms > 0 ? ms : 0);
}

const char *ctl_plural(unsigned long long count)
{
    return count == 1 ? "" : "s";
}
