/* SPDX-License-Identifier: MIT */
/* swctl doctor. */
#ifndef SWB_CTL_DOCTOR_DOCTOR_H
#define SWB_CTL_DOCTOR_DOCTOR_H

#include "ctl/verb.h"

int ctl_doctor(const struct ctl_call *call);

#endif
