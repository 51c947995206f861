/* SPDX-License-Identifier: MIT */
/* Reports as a table or as JSON, with a description of the machine. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "lib/bench.h"

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- series ---------------------------------------------------------------------------------- */

void series_add(struct series *series, double value)
{
    if (series->count == series->capacity) {
        size_t capacity = series->capacity ? series->capacity * 2 : 256;
        double *values = realloc(series->values, capacity * sizeof *values);
        if (!values)
            bench_die("out of memory");
        series->values = values;
        series->capacity = capacity;
    }
    series->values[series->count++] = value;
}

static int ascending(const void *left, const void *right)
{
    double a, b;
    memcpy(&a, left, sizeof a);
    memcpy(&b, right, sizeof b);
    return (a > b) - (a < b);
}

double series_quantile(struct series *series, double quantile)
{
    if (series->count == 0)
        return (double)NAN;
    qsort(series->values, series->count, sizeof *series->values, ascending);
    double rank = ceil(quantile * (double)series->count);
    size_t index = rank < 1 ? 0 : (size_t)rank - 1;
    return series->values[index < series->count ? index : series->count - 1];
}

double series_median(struct series *series)
{
    return series_quantile(series, 0.5);
}

void series_fini(struct series *series)
{
    free(series->values);
    *series = (struct series){0};
}

/* ---- the machine ----------------------------------------------------------------------------- */

/* The value of the first line of a file that begins with key; or the whole first line with key "".
 */
static void read_line(const char *path, const char *key, char *value, size_t size)
{
    (void)snprintf(value, size, "unknown");
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    char line[512];
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        const char *from = line + strlen(key);
        from += strspn(from, " \t:");
        (void)snprintf(value, size, "%.*s", (int)strcspn(from, "\n"), from);
        break;
    }
    fclose(file);
}

static json_t *describe_machine(void)
{
    char model[256], memory[64], huge[128];
    read_line("/proc/cpuinfo", "model name", model, sizeof model);
    read_line("/proc/meminfo", "MemTotal", memory, sizeof memory);
    read_line("/sys/kernel/mm/transparent_hugepage/enabled", "", huge, sizeof huge);
    struct utsname name;
    uname(&name);
    double load[3] = {0};
    (void)getloadavg(load, 3);
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:f}", "cpu", model, "cores",
                     (int)sysconf(_SC_NPROCESSORS_ONLN), "memory", memory, "kernel", name.release,
                     "transparent_hugepage", huge, "load_average_1m", load[0]);
}

/* ---- reports --------------------------------------------------------------------------------- */

static void add_line(struct report *report, const char *label, const char *value)
{
    char line[512];
    int length = snprintf(line, sizeof line, "  %-46s %s\n", label, value);
    if (length < 0 || (size_t)length >= sizeof line)
        length = (int)strlen(line);
    char *text = realloc(report->text, report->text_size + (size_t)length + 1);
    if (!text)
        bench_die("out of memory");
    memcpy(text + report->text_size, line, (size_t)length + 1);
    report->text = text;
    report->text_size += (size_t)length;
}

void report_init(struct report *report, const char *command)
{
    *report = (struct report){.root = json_object()};
    json_object_set_new(report->root, "benchmark", json_string(command));
    json_object_set_new(report->root, "version", json_string(sw_version()));
    json_object_set_new(report->root, "machine", describe_machine());
}

void report_number(struct report *report, const char *key, double value, int digits,
                   const char *label)
{
    bool known = isfinite(value);
    json_object_set_new(report->root, key, known ? json_real(value) : json_null());
    char text[64] = "not measured";
    if (known)
        (void)snprintf(text, sizeof text, "%.*f", digits, value);
    if (label)
        add_line(report, label, text);
}

void report_integer(struct report *report, const char *key, int64_t value, const char *label)
{
    json_object_set_new(report->root, key, json_integer(value));
    char text[64];
    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    if (label)
        add_line(report, label, text);
}

void report_string(struct report *report, const char *key, const char *value, const char *label)
{
    json_object_set_new(report->root, key, json_string(value));
    if (label)
        add_line(report, label, value);
}

int report_print(struct report *report, bool as_json)
{
    if (as_json) {
        json_dumpf(report->root, stdout, JSON_REAL_PRECISION(9));
        putchar('\n');
    } else {
        json_t *machine = json_object_get(report->root, "machine");
        printf("%s on %s, %lld cores, Linux %s, load %.2f\n",
               json_string_value(json_object_get(report->root, "benchmark")),
               json_string_value(json_object_get(machine, "cpu")),
               (long long)json_integer_value(json_object_get(machine, "cores")),
               json_string_value(json_object_get(machine, "kernel")),
               json_real_value(json_object_get(machine, "load_average_1m")));
        fputs(report->text ? report->text : "", stdout);
    }
    json_decref(report->root);
    free(report->text);
    *report = (struct report){0};
    if (fflush(stdout) != 0)
        bench_die("cannot write the report");
    return 0;
}
