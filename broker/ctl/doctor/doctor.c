/* SPDX-License-Identifier: MIT */
/* swctl doctor: check the machine and, if one answers, the broker. */
#include "ctl/doctor/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/size.h"
#include "ctl/doctor/check.h"
#include "ctl/lib/ask.h"
#include "ctl/lib/table.h"
#include "ctl/lib/text.h"

static const struct {
    const char *name;
    ctl_check_fn run;
} checks[] = {
    {"broker", ctl_check_answer},       {"release", ctl_check_release},
    {"isolation", ctl_check_isolation}, {"socket", ctl_check_socket},
    {"catalog", ctl_check_catalog},     {"damage", ctl_check_damage},
    {"chunks dir", ctl_check_chunks},   {"O_DIRECT", ctl_check_direct},
    {"kernel", ctl_check_kernel},       {"io_uring", ctl_check_uring},
    {"/dev/shm", ctl_check_shm},        {"huge pages", ctl_check_huge},
    {"memory", ctl_check_memory},       {"cgroup", ctl_check_cgroup},
    {"open files", ctl_check_files},    {"memlock", ctl_check_memlock},
    {"processor", ctl_check_processor},
};
#define CHECKS (sizeof checks / sizeof checks[0])

/* of the command line; NULL and 0: not given */
static const char *chunks_dir;
static uint64_t cache_bytes;

void ctl_check_set(struct ctl_check *check, enum ctl_result result, const char *remedy,
                   const char *format, ...)
{
    va_list arguments;
    check->result = result;
    va_start(arguments, format);
    (void)vsnprintf(check->found, sizeof check->found, format, arguments);
    va_end(arguments);
    (void)snprintf(check->remedy, sizeof check->remedy, "%s", remedy ? remedy : "");
    ctl_text_clean(check->found);
}

static const char *const results[] = {"ok", "unknown", "warn", "fail"};

static void print_table(const struct ctl_check done[CHECKS])
{
    static const enum ctl_tone tones[] = {CTL_GOOD, CTL_FAINT, CTL_BUSY, CTL_BAD};
    struct ctl_table *table = ctl_table_create("CHECK|RESULT|FINDING AND REMEDY");
    for (size_t i = 0; i < CHECKS; i++) {
        ctl_table_cell(table, CTL_PLAIN, "%s", done[i].name);
        ctl_table_cell(table, tones[done[i].result], "%s", results[done[i].result]);
        ctl_table_cell(table, CTL_PLAIN, "%s", done[i].found);
        if (!done[i].remedy[0])
            continue;
        ctl_table_cell(table, CTL_PLAIN, "%s", ""); /* below: side by side they are too wide */
        ctl_table_cell(table, CTL_PLAIN, "%s", "");
        ctl_table_cell(table, CTL_FAINT, "-> %s", done[i].remedy);
    }
    ctl_table_print(table);
}

static void print_json(const struct ctl_check done[CHECKS], enum ctl_result worst)
{
    json_t *list = json_array();
    for (size_t i = 0; i < CHECKS; i++)
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", done[i].name,
                                                    "result", results[done[i].result], "found",
                                                    done[i].found, "remedy", done[i].remedy));
    json_t *all = json_pack("{s:b, s:s, s:o}", "ok", worst < CTL_CHECK_WARN, "worst",
                            results[worst], "checks", list);
    ctl_json_print(all, stdout);
    json_decref(all);
}

/* The broker's stats; NULL: no answer, error holds the reason. */
static json_t *ask(const struct ctl_call *call, struct swi_error *error)
{
    json_t *request = json_pack("{s:s}", "verb", "stats"), *reply = NULL;
    int result =
        request ? ctl_ask_once(call->socket_path, request, call->timeout_ms, &reply, error) : -1;
    json_decref(request);
    if (result == 0 && json_is_true(json_object_get(reply, "ok")))
        return reply;
    if (result == 0)
        (void)snprintf(error->text, sizeof error->text, "the broker reports a failure");
    json_decref(reply);
    return NULL;
}

static int run(const struct ctl_call *call)
{
    struct ctl_subject subject = {.socket_path = call->socket_path,
                                  .chunks_dir = chunks_dir,
                                  .cache_bytes = cache_bytes,
                                  .pid = getpid(),
                                  .uid = geteuid()};
    struct swi_error error = {.text = "out of memory"};
    json_t *stats = ask(call, &error);
    subject.stats = stats;
    subject.why = error.text;
    if (stats) {
        subject.pid = (pid_t)json_integer_value(json_object_get(stats, "pid"));
        subject.uid = (uid_t)json_integer_value(json_object_get(stats, "uid"));
        if (!cache_bytes)
            subject.cache_bytes =
                (uint64_t)json_integer_value(json_object_get(stats, "arena_bytes"));
        if (!subject.chunks_dir)
            subject.chunks_dir = json_string_value(json_object_get(stats, "chunks_dir"));
    }
    struct ctl_check done[CHECKS];
    enum ctl_result worst = CTL_CHECK_OK;
    for (size_t i = 0; i < CHECKS; i++) {
        done[i] = (struct ctl_check){
            .name = checks[i].name, .result = CTL_CHECK_UNKNOWN, .found = "cannot be determined"};
        checks[i].run(&subject, &done[i]);
        worst = done[i].result > worst ? done[i].result : worst;
    }
    if (call->json)
        print_json(done, worst);
    else
        print_table(done);
    json_decref(stats);
    return worst == CTL_CHECK_FAIL ? CTL_REFUSED : worst == CTL_CHECK_WARN ? CTL_WARNED : CTL_DONE;
}

static const struct cli_option options[] = {
    {"chunks-dir", "DIR", "directory of models to check; default the running broker's",
     .text = &chunks_dir},
    {"cache-size", "SIZE", "cache size to check for; default the running broker's",
     .bytes = &cache_bytes},
    {0},
};

const struct ctl_verb ctl_verb_doctor = {
    .name = "doctor",
    .help = "check the machine and the broker, and suggest remedies",
    .more = "It also works without a broker. Exit status: 1 if a check fails, 4 if there are only\n"
            "warnings.",
    .options = options,
    .run = run};
