/* SPDX-License-Identifier: MIT */
/* Anonymous shared memory that can be sealed. */
#ifndef SWI_CORE_MEMFD_H
#define SWI_CORE_MEMFD_H

/* Creates an empty memfd that can be sealed and can never be executed where the kernel knows of
 * that (Linux 6.3; vm.memfd_noexec may insist on it). name shows in /proc. The file's mode is 0600.
 * Returns a close-on-exec descriptor or -errno. */
int swi_memfd_create(const char *name);

#endif
