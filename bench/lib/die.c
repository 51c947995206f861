/* SPDX-License-Identifier: MIT */
/* Failures of a benchmark. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/bench.h"

void bench_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fputs("swbench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void bench_check(int code, const sw_client *client, const char *what)
{
    if (code >= 0)
        return;
    char text[512] = "";
    if (client && sw_client_message(client, text, sizeof text) == code && text[0])
        bench_die("%s: %s", what, text);
    bench_die("%s: %s", what, sw_strerror(code));
}
