/* SPDX-License-Identifier: MIT */
/* System calls that are answered by an error, as a container's seccomp filter does. */
#ifndef SWT_SUPPORT_DENY_H
#define SWT_SUPPORT_DENY_H

/* From now on this process, and what it executes, gets -code from the system call with this number
 * (SYS_…). 0 or -errno. Needs no privilege, and cannot be undone. */
int sup_deny(long number, int code);

#endif
