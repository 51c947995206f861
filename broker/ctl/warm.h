/* SPDX-License-Identifier: MIT */
/* swctl warm. */
#ifndef SWB_CTL_WARM_H
#define SWB_CTL_WARM_H

#include "ctl/verb.h"

int ctl_warm(const struct ctl_call *call);

#endif
