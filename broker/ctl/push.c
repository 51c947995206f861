/* SPDX-License-Identifier: MIT */
/* swctl push. */
#include <stdio.h>

#include "ctl/lib/answer.h"
#include "ctl/verbs.h"

static void show(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    unsigned long long written = ctl_count_of(reply, "chunks_written");
    (void)printf("%s: wrote %llu chunk%s (%s); revision %s\n", ctl_text_of(reply, "model"), written,
                 ctl_plural(written), ctl_size_of(reply, "bytes_written"),
                 ctl_text_of(reply, "revision"));
}

const struct ctl_verb ctl_verb_push = {
    .name = "push",
    .operands = "MODEL",
    .least = 1,
    .most = 1,
    .help = "write a model from its files to the broker's Redis",
    .more = "Chunks that are already there are written again, which repairs damaged ones. Brokers\n"
            "without the files can serve the model then. Ctrl-C stops it.",
    .prepare = ctl_prepare_target,
    .show = show,
    .patient = true,
    .progress = "pushing"};
