/* SPDX-License-Identifier: MIT */
/* The form of Prometheus's text. */
#include "exporter/form.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

void metrics_check_form(const char *text)
{
    char seen[128][64];
    size_t families = 0;
    const char *type = "";
    char family[64] = "";
    cr_assert_eq(text[strlen(text) - 1], '\n');
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        if (strncmp(line, "# HELP ", 7) == 0) {
            size_t length = strcspn(line + 7, " ");
            cr_assert(length > 0 && length < sizeof family && families < 128);
            memcpy(family, line + 7, length);
            family[length] = 0;
            for (size_t i = 0; i < families; i++)
                cr_assert_str_neq(seen[i], family, "a family comes twice");
            memcpy(seen[families++], family, length + 1);
            line = strchr(line, '\n') + 1;
            cr_assert_eq(strncmp(line, sup_format("# TYPE %s ", family), 8 + length), 0, "%s",
                         family);
            type = line + 8 + length;
            bool counts = strncmp(type, "counter\n", 8) == 0;
            bool total = length > 6 && strcmp(family + length - 6, "_total") == 0;
            cr_assert_eq(counts, total, "counters and they alone end in _total: %s", family);
            continue;
        }
        size_t length = strlen(family);
        cr_assert(length > 0 && strncmp(line, family, length) == 0, "%.60s", line);
        const char *rest = line + length;
        if (strncmp(type, "histogram", 9) == 0) {
            cr_assert_eq(*rest, '_');
            rest += strcspn(rest, "{");
        }
        if (*rest == '{')
            rest = strchr(rest, '}') + 1;
        cr_assert_eq(*rest, ' ', "%.80s", line);
        char *end;
        (void)strtod(rest + 1, &end);
        cr_assert(end > rest + 1 && *end == '\n', "%.80s", line);
    }
}
