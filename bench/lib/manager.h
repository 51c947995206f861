/* SPDX-License-Identifier: MIT */
/* A service manager for one service: sd_notify(3), the fd store and socket activation, as systemd
 * does them for swbrokerd, for machines that do not run systemd.
 *
 * It starts the service with NOTIFY_SOCKET, FDSTORE and LISTEN_FDS/LISTEN_FDNAMES/LISTEN_PID set,
 * stores descriptors sent with FDSTORE=1 up to its limit, removes those named by FDSTOREREMOVE=1
 * and those that hang up, and answers BARRIER=1 in order. It accepts messages only from the
 * service's main process.
 *
 * It reads commands, one a line, and answers each with one line that begins with "ok" or "failed":
 *
 *   start            ok PID READY_MS        until READY=1
 *   stop             ok CODE EXIT_MS        SIGTERM, until it has exited
 *   kill             ok                     SIGKILL
 *   restart          ok PID EXIT_MS READY_MS
 *   crash            ok PID READY_MS        kill, then start
 *   doomed MS        ok                     start, and kill after this time
 *   list             ok NAME…
 *   drop NAME        ok COUNT               remove from the store
 *   give NAME        ok COUNT               answer with copies of these descriptors (in: a socket)
 *   put NAME         ok                     store the descriptors sent with the line
 *   max N            ok                     limit of the store from the next start
 *   deaf 0|1         ok                     1: do not read notifications
 *   slow MS          ok                     do not read them for this time after the next start
 *
 * A plain module without a test framework, used by the program sw-manager and by swbench.
 */
#ifndef SWBENCH_LIB_MANAGER_H
#define SWBENCH_LIB_MANAGER_H

struct manager_options {
    unsigned max; /* limit of the store; 0: no store, and no FDSTORE in the environment */
    const char *listen_path; /* socket to activate the service with; NULL: none */
    const char *log;         /* file to append the service's messages to */
    char *const *argv;       /* the service, argv[0] its path */
};

/* Runs until `in` ends, then kills the service. Returns an exit code. */
int manager_serve(const struct manager_options *options, int in, int out);

#endif
