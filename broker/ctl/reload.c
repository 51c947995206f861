/* SPDX-License-Identifier: MIT */
/* swctl reload. */
#include <stdio.h>

#include "ctl/lib/answer.h"
#include "ctl/verbs.h"

/* "LABEL: a, b", or nothing when there are none. */
static void print_names(const json_t *names, const char *label)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        (void)printf("%s%s%s", i ? ", " : label, i ? "" : ": ",
                     json_string_value(json_array_get(names, i)));
    if (json_array_size(names))
        (void)printf("\n");
}

static void show(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    unsigned long long ended = ctl_count_of(reply, "pins_ended"), bad = ctl_count_of(reply, "bad");
    (void)printf("%llu added, %llu replaced, %llu removed, %llu unchanged, %llu bad%s",
                 ctl_count_of(reply, "added"), ctl_count_of(reply, "replaced"),
                 ctl_count_of(reply, "removed"), ctl_count_of(reply, "unchanged"), bad,
                 bad ? " (see swctl models)" : "");
    if (ended)
        (void)printf("; %llu of the operator's pins ended", ended);
    (void)printf("\n");
    const json_t *settings = json_object_get(reply, "settings");
    print_names(json_object_get(settings, "applied"), "settings applied");
    print_names(json_object_get(settings, "at_restart"), "settings that need a restart");
    const json_t *refused = json_object_get(settings, "refused");
    for (size_t i = 0; i < json_array_size(refused); i++)
        (void)printf("%s keeps its value: %s\n", ctl_text_of(json_array_get(refused, i), "name"),
                     ctl_text_of(json_array_get(refused, i), "error"));
}

const struct ctl_verb ctl_verb_reload = {
    .name = "reload",
    .help = "read the settings and scan the chunks directory again",
    .more = "Prints which settings changed and which need a restart. If any setting is wrong,\n"
            "nothing is reloaded. A replaced model becomes a new revision: workers that have the\n"
            "old one open finish on it.",
    .show = show};
