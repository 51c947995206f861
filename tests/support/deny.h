/* SPDX-License-Identifier: MIT */
/* Make system calls fail, as a container's seccomp filter does. */
#ifndef SWT_SUPPORT_DENY_H
#define SWT_SUPPORT_DENY_H

/* Makes a system call (SYS_…) fail with -code in this process and everything it executes. Needs no
 * privilege and cannot be undone. Returns 0 or -errno. */
int sup_deny(long number, int code);

#endif
