/* SPDX-License-Identifier: MIT */
/* Starting a program that is nobody's child.
 *
 * The host process is not to notice: it gets no SIGCHLD and no zombie, its wait() calls see
 * nothing, its fork handlers do not run, its memory is not copied, and its descriptors are not
 * inherited. (Where the host is the reaper of orphans itself, as process 1 of a container is, the
 * kernel hands it the program when that ends, as it does with every orphan.)
 */
#ifndef SWI_CLIENT_SPAWN_H
#define SWI_CLIENT_SPAWN_H

/* Runs a program in a session of its own, in /, its stdin and stdout on /dev/null, with default
 * signal dispositions. *ret_messages is the reading end of its stderr (non-blocking,
 * close-on-exec): the end of file means that it has ended. Returns 0 or -errno. */
int swi_spawn_detached(const char *program, const char *const argv[], char *const environment[],
                       int *ret_messages);

#endif
