/* SPDX-License-Identifier: MIT */
/* swctl trace. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/lib/answer.h"
#include "ctl/verbs.h"

static int prepare(const struct ctl_call *call, json_t *request)
{
    (void)request;
    if (call->operand_count == 0 || strcmp(call->operands[0], "status") == 0)
        return CTL_DONE;
    return cli_usage(call->command,
                     "'%.200s' is not status; swbrokerd --trace FILE records a trace",
                     call->operands[0]);
}

static void show(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    const char *path = ctl_text_of(reply, "path");
    bool recording = json_is_true(json_object_get(reply, "recording"));
    if (!*path) {
        (void)printf("no trace is being recorded\n");
        return;
    }
    char time[32];
    ctl_duration(json_number_value(json_object_get(reply, "seconds")) * 1000, time, sizeof time);
    (void)printf("%s %s: %s in %s", recording ? "recording to" : "recorded", path,
                 ctl_size_of(reply, "bytes"), time);
    if (ctl_count_of(reply, "lost"))
        (void)printf("; %llu uses were lost", ctl_count_of(reply, "lost"));
    if (access(path, F_OK) < 0 && errno == ENOENT)
        (void)printf("; the file is not visible from here: the service runs with PrivateTmp=");
    (void)printf("\n");
}

const struct ctl_verb ctl_verb_trace = {
    .name = "trace",
    .operands = "[status]",
    .most = 1,
    .help = "show whether a trace is being recorded, and where",
    .more = "swbrokerd --trace FILE records one, for swbench policy.",
    .prepare = prepare,
    .show = show};
