/* SPDX-License-Identifier: MIT */
/* The commands of swctl. */
#ifndef SWB_CTL_VERBS_H
#define SWB_CTL_VERBS_H

#include "ctl/lib/call.h"

extern const struct ctl_verb ctl_verb_clear, ctl_verb_clients, ctl_verb_ls, ctl_verb_models,
    ctl_verb_pin, ctl_verb_ping, ctl_verb_push, ctl_verb_reload, ctl_verb_resize, ctl_verb_stats,
    ctl_verb_trace, ctl_verb_unpin, ctl_verb_verify, ctl_verb_warm;

/* In the order of the help. */
extern const struct ctl_verb *const ctl_verbs[];
extern const size_t ctl_verb_count;

#endif
