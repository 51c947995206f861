/* SPDX-License-Identifier: MIT */
/* What systemd-logind does at a user's logout, by its configuration. */
#ifndef SWB_CTL_DOCTOR_LOGIND_H
#define SWB_CTL_DOCTOR_LOGIND_H

#include <stdbool.h>

struct ctl_logind {
    bool remove_ipc;     /* RemoveIPC=: what an ordinary user has in /dev/shm by name goes */
    bool kill_processes; /* KillUserProcesses=: what an ordinary user left running goes */
    char where[128];     /* the file that says the last word on one of them; "": none does */
};

/* Reads logind.conf and its drop-ins beneath root ("" for this machine's own) as systemd does: the
 * first logind.conf there is of /etc, /run, /usr/local/lib and /usr/lib, then the drop-ins of all
 * four in the order of their names, where a name in an earlier folder hides the same in a later
 * one. What cannot be read counts as not there. */
void ctl_logind_read(const char *root, struct ctl_logind *ret);

#endif
