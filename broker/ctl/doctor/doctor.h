/* SPDX-License-Identifier: MIT */
/* swctl doctor. */
#ifndef SWB_CTL_DOCTOR_DOCTOR_H
#define SWB_CTL_DOCTOR_DOCTOR_H

#include "ctl/lib/call.h"

extern const struct ctl_verb ctl_verb_doctor;

#endif
