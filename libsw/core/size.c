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
    double unit = 0x1p20;
    switch (*end) {
    case 'B':
        unit = 1;
        end++;
        break;
    case 'K':
    case 'k':
        unit = 0x1p10;
        end++;
        break;
    case 'M':
    case 'm':
        end++;
        break;
    case 'G':
    case 'g':
        unit = 0x1p30;
        end++;
        break;
    case 'T':
    case 't':
        unit = 0x1p40;
        end++;
        break;
    default:
        break;
    }
    double bytes = value * unit;
    if (*end != 0 || !isfinite(bytes) || bytes < 1 || bytes >= 0x1p60)
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
