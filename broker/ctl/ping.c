/* SPDX-License-Identifier: MIT */
/* swctl ping. */
#include <stdio.h>

#include "ctl/lib/answer.h"
#include "ctl/verbs.h"

static void show(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    (void)printf("the broker answers (pid %llu)\n", ctl_count_of(reply, "pid"));
}

const struct ctl_verb ctl_verb_ping = {
    .name = "ping", .help = "exit with 0 when the broker answers", .show = show};
