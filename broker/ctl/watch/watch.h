/* SPDX-License-Identifier: MIT */
/* swctl watch. */
#ifndef SWB_CTL_WATCH_WATCH_H
#define SWB_CTL_WATCH_WATCH_H

#include "ctl/verb.h"

int ctl_watch(const struct ctl_call *call);

#endif
