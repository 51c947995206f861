/* SPDX-License-Identifier: MIT */
/* swctl pin and swctl unpin. */
#include <stdio.h>

#include "ctl/lib/answer.h"
#include "ctl/verbs.h"

static void show_pin(const struct ctl_call *call, const json_t *reply)
{
    unsigned long long chunks = ctl_count_of(reply, "chunks");
    ctl_print_target(call);
    (void)printf("loaded and pinned %llu chunk%s (%s)\n", chunks, ctl_plural(chunks),
                 ctl_size_of(reply, "bytes"));
}

static void show_unpin(const struct ctl_call *call, const json_t *reply)
{
    unsigned long long chunks = ctl_count_of(reply, "chunks");
    ctl_print_target(call);
    (void)printf("unpinned %llu chunk%s (%s); %s still pinned\n", chunks, ctl_plural(chunks),
                 ctl_size_of(reply, "bytes"), ctl_size_of(reply, "operator_pinned_bytes"));
}

const struct ctl_verb ctl_verb_pin = {
    .name = "pin",
    .operands = CTL_TARGET "...",
    .least = 1,
    .most = CTL_OPERANDS,
    .help = "load chunks, and keep them until they are unpinned",
    .more = "The operator's pins may take half of the cache. They end with the broker, and when\n"
            "their model leaves the catalog; they follow a model to its new revision.",
    .targets = "pinned",
    .show = show_pin,
    .patient = true,
    .progress = "loading"};

const struct ctl_verb ctl_verb_unpin = {.name = "unpin",
                                        .operands = CTL_TARGET "...",
                                        .least = 1,
                                        .most = CTL_OPERANDS,
                                        .help = "allow pinned chunks to be evicted again",
                                        .targets = "unpinned",
                                        .show = show_unpin};
