/* SPDX-License-Identifier: MIT */
/* Sizes as people write them. */
#include "core/size.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool swi_size_parse(const char *text, uint64_t *ret_bytes)
{
    if (!isdigit((unsigned char)text[0]))
        return false; /* no sign, no space, no "inf" */
    char *end;
    double value = strtod(text, &end);
    if (end != text + strspn(text, "0123456789."))
        return false; /* strtod also takes exponents and hexadecimal */
    static const char letters[] = "KMGT";
    double unit = 0x1p20;
    if (strcmp(end, "B") == 0) {
        unit = 1;
    } else if (*end) {
        const char *letter = strchr(letters, toupper((unsigned char)*end));
        if (!letter || (end[1] && strcmp(end + 1, "B") != 0 && strcmp(end + 1, "iB") != 0))
            return false;
        unit = ldexp(1024, 10 * (int)(letter - letters));
    }
    double bytes = value * unit;
    if (!isfinite(bytes) || bytes < 1 || bytes >= 0x1p60)
        return false;
    *ret_bytes = (uint64_t)bytes;
    return true;
}

void swi_size_format(uint64_t bytes, char *text, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    int digits = unit == 0 || value >= 100 ? 0 : 1;
    (void)snprintf(text, size, "%.*f %s", digits, value, units[unit]);
}
