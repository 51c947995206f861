/* SPDX-License-Identifier: MIT */
/* A service manager for one service, as far as sd_notify(3), the descriptor store and socket
 * activation go: what systemd does around swbrokerd, for machines that were not booted with it.
 *
 * It starts the service with NOTIFY_SOCKET, FDSTORE and LISTEN_FDS/LISTEN_FDNAMES/LISTEN_PID set,
 * keeps what comes with FDSTORE=1 (refusing what is over its limit), forgets what FDSTOREREMOVE=1
 * names and what hangs up, and answers BARRIER=1 in its turn. Only the service's main process is
 * heard.
 *
 * It is told what to do by lines, each answered by one line that begins with "ok" or "failed":
 *
 *   start            ok PID READY_MS        until READY=1
 *   stop             ok CODE EXIT_MS        SIGTERM, until it has ended
 *   kill             ok                     SIGKILL
 *   restart          ok PID EXIT_MS READY_MS
 *   crash            ok PID READY_MS        kill, then start
 *   doomed MS        ok                     start, and kill so long after, whatever it does then
 *   list             ok NAME…
 *   drop NAME        ok COUNT               out of the store
 *   give NAME        ok COUNT               with copies of these descriptors (in must be a socket)
 *   put NAME         ok                     the descriptors that come with the line into the store
 *   max N            ok                     for the next start
 *   deaf 0|1         ok                     1: lets notifications lie
 *   slow MS          ok                     lets them lie for so long after the next start
 *
 * A plain module without a test framework: a program of its own (sw-manager), and part of swbench.
 */
#ifndef SWBENCH_LIB_MANAGER_H
#define SWBENCH_LIB_MANAGER_H

struct manager_options {
    unsigned max; /* descriptors it keeps; 0: no store, and no FDSTORE in the environment */
    const char *listen_path; /* of the socket that it activates the service with; NULL: none */
    const char *log;         /* where the service's messages are appended */
    char *const *argv;       /* the service, argv[0] its path */
};

/* Until the end of `in`; then kills the service. Returns an exit code. */
int manager_serve(const struct manager_options *options, int in, int out);

#endif
