/* SPDX-License-Identifier: MIT */
/* The list of commands. */
#include "ctl/verbs.h"

#include "ctl/doctor/doctor.h"
#include "ctl/watch/watch.h"

const struct ctl_verb *const ctl_verbs[] = {
    &ctl_verb_ping,    &ctl_verb_stats,  &ctl_verb_ls,    &ctl_verb_models,
    &ctl_verb_clients, &ctl_verb_watch,  &ctl_verb_trace, &ctl_verb_doctor,
    &ctl_verb_warm,    &ctl_verb_pin,    &ctl_verb_unpin, &ctl_verb_clear,
    &ctl_verb_verify,  &ctl_verb_resize, &ctl_verb_push,  &ctl_verb_reload,
};
const size_t ctl_verb_count = sizeof ctl_verbs / sizeof ctl_verbs[0];
