/* SPDX-License-Identifier: MIT */
/* swctl resize. */
#include <stdio.h>

#include "core/size.h"
#include "ctl/lib/answer.h"
#include "ctl/verbs.h"

static int prepare(const struct ctl_call *call, json_t *request)
{
    uint64_t bytes;
    if (swi_size_parse(call->operands[0], &bytes) &&
        json_object_set_new(request, "bytes", json_integer((json_int_t)bytes)) == 0)
        return CTL_DONE;
    return cli_usage(call->command, "'%s' is not a size such as 512, 512M or 2G",
                     call->operands[0]);
}

static void show(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    const char *message = ctl_text_of(reply, "message");
    (void)printf("the cache is now %s%s%s\n", ctl_size_of(reply, "arena_bytes"),
                 *message ? "; " : "", message);
}

const struct ctl_verb ctl_verb_resize = {
    .name = "resize",
    .operands = "SIZE",
    .least = 1,
    .most = 1,
    .help = "change the size of the cache",
    .more = "SIZE is in MB, or has a unit (512M, 2G), and may be up to the broker's\n"
            "--max-cache-size. Shrinking evicts; pinned chunks leave when they are released.",
    .prepare = prepare,
    .show = show};
