/* SPDX-License-Identifier: MIT */
/* swctl watch. */
#ifndef SWB_CTL_WATCH_WATCH_H
#define SWB_CTL_WATCH_WATCH_H

#include "ctl/lib/call.h"

extern const struct ctl_verb ctl_verb_watch;

#endif
