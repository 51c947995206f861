/* SPDX-License-Identifier: MIT */
/* Starts a program that is not a child of this process.
 *
 * The host process does not notice: it gets no SIGCHLD and no zombie, its wait() calls see nothing,
 * its fork handlers do not run, its memory is not copied, and its descriptors are not inherited.
 * (If the host reaps orphans itself, like process 1 of a container, it also reaps this one.)
 */
#ifndef SWI_CLIENT_SPAWN_H
#define SWI_CLIENT_SPAWN_H

/* Runs a program in a new session, in /, with stdin and stdout on /dev/null and default signal
 * dispositions. *ret_messages is the read end of its stderr (non-blocking, close-on-exec); end of
 * file means that the program has exited. Returns 0 or -errno. */
int swi_spawn_detached(const char *program, const char *const argv[], char *const environment[],
                       int *ret_messages);

#endif
