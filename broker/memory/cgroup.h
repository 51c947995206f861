/* SPDX-License-Identifier: MIT */
/* The memory limits of a process's control groups, version 1 or 2. Above memory.high the kernel
 * throttles a process that allocates, so that limit counts as memory.max does. */
#ifndef SWB_MEMORY_CGROUP_H
#define SWB_MEMORY_CGROUP_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* Returns the smallest memory limit among the groups listed in proc_cgroup (the text of
 * /proc/PID/cgroup) and all their ancestors, as found under sys_root (/sys/fs/cgroup); UINT64_MAX
 * if there is none. Unless path is NULL, it receives the file that holds the limit. */
uint64_t cgroup_memory_limit(const char *proc_cgroup, const char *sys_root, char *path,
                             size_t path_size);

/* What a broker needs of memory beside its arena. */
#define CGROUP_HEADROOM_BYTES (UINT64_C(64) << 20)

/* Checks an arena of goal_bytes, and the headroom, against the limit of this process. -ENOMEM
 * with a message that names the limit and the remedy. */
int cgroup_check_memory(uint64_t goal_bytes, struct swi_error *error);

#endif
