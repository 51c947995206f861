/* SPDX-License-Identifier: MIT */
/* swctl verify. */
#include <stdio.h>
#include <string.h>

#include "ctl/lib/answer.h"
#include "ctl/lib/table.h"
#include "ctl/verbs.h"

/* What the broker did about a chunk that did not match. */
static void describe_action(const json_t *chunk, char *text, size_t size)
{
    const json_t *revoked = json_object_get(chunk, "revoked");
    const char *done = json_is_true(json_object_get(chunk, "reloaded")) ? "read again from its file"
                       : json_object_get(chunk, "reason") ? ctl_text_of(chunk, "reason")
                                                          : ctl_text_of(chunk, "error");
    size_t used = (size_t)snprintf(text, size, "%s%s", done,
                                   json_array_size(revoked) ? "; leases revoked of" : "");
    size_t i;
    const json_t *holder;
    json_array_foreach(revoked, i, holder)
    {
        if (used < size - 1)
            used += (size_t)snprintf(text + used, size - used, "%s %s/%llu", i ? "," : "",
                                     ctl_text_of(holder, "name"), ctl_count_of(holder, "pid"));
    }
}

static void add_result(struct ctl_table *table, const json_t *chunk)
{
    const char *result = ctl_text_of(chunk, "result");
    bool bad = strcmp(result, "mismatch") == 0;
    ctl_table_cell(table, CTL_PLAIN, "%s", ctl_text_of(chunk, "model"));
    ctl_table_cell(table, CTL_PLAIN, "%s", ctl_text_of(chunk, "component"));
    ctl_table_size(table, ctl_count_of(chunk, "bytes"));
    ctl_table_cell(table,
                   bad                         ? CTL_BAD
                   : strcmp(result, "ok") == 0 ? CTL_GOOD
                                               : CTL_FAINT,
                   "%s", result);
    char text[256];
    if (bad)
        describe_action(chunk, text, sizeof text);
    else /* of a skipped chunk */
        (void)snprintf(text, sizeof text, "%s", ctl_text_of(chunk, "reason"));
    ctl_table_cell(table, CTL_PLAIN, "%s", text);
}

static void show(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    struct ctl_table *table = ctl_table_create("MODEL|COMPONENT|>SIZE|RESULT|ACTION");
    const json_t *list = json_object_get(reply, "chunks");
    for (size_t i = 0; i < json_array_size(list); i++)
        add_result(table, json_array_get(list, i));
    ctl_table_print(table);
    unsigned long long verified = ctl_count_of(reply, "chunks_verified");
    unsigned long long passed_over = ctl_count_of(reply, "passed_over");
    (void)printf("verified %llu chunk%s (%s), %llu did not match", verified, ctl_plural(verified),
                 ctl_size_of(reply, "bytes"), ctl_count_of(reply, "mismatches"));
    if (passed_over)
        (void)printf("; skipped %llu, see above", passed_over);
    (void)printf("\n");
}

const struct ctl_verb ctl_verb_verify = {
    .name = "verify",
    .operands = "[" CTL_TARGET "...]",
    .most = CTL_OPERANDS,
    .help = "hash resident chunks again",
    .more =
        "Without operands: all of them. A chunk that does not match is withdrawn: clients that\n"
        "hold it are revoked, and it is read again from its file. The exit status is then 1.",
    .targets = "verified",
    .show = show,
    .patient = true,
    .progress = "verifying",
    .shows_failures = true};
