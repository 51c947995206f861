/* SPDX-License-Identifier: MIT */
/* swctl clear. */
#include <stdio.h>

#include "ctl/lib/answer.h"
#include "ctl/verbs.h"

static void show(const struct ctl_call *call, const json_t *reply)
{
    unsigned long long chunks = ctl_count_of(reply, "chunks"),
                       pinned = ctl_count_of(reply, "pinned_chunks"),
                       by_operator = ctl_count_of(reply, "operator_pinned_chunks");
    ctl_print_target(call);
    (void)printf("evicted %llu chunk%s (%s)", chunks, ctl_plural(chunks),
                 ctl_size_of(reply, "bytes"));
    if (pinned)
        (void)printf("; %llu (%s) are pinned and stay", pinned, ctl_size_of(reply, "pinned_bytes"));
    if (by_operator)
        (void)printf(", %llu of them pinned by the operator (see swctl unpin)", by_operator);
    (void)printf("\n");
}

const struct ctl_verb ctl_verb_clear = {
    .name = "clear",
    .operands = "[" CTL_TARGET "...]",
    .most = CTL_OPERANDS,
    .help = "evict chunks that are not pinned",
    .more = "Without operands: all of them. Pinned chunks stay, and the answer says how many.",
    .targets = "cleared",
    .show = show};
