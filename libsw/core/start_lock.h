/* SPDX-License-Identifier: MIT */
/* The lock for starting or stopping the broker of a socket: flock on the file "SOCKET.lock".
 *
 * A starting client holds it from its search for a broker until the new one serves it. A broker
 * that exits when idle holds it from its decision until its socket is gone, and finally removes the
 * file. This way no second broker is started, and no client waits for one that is about to exit.
 *
 * Because the file is removed, a lock is valid only while the path still names the locked file.
 */
#ifndef SWI_CORE_START_LOCK_H
#define SWI_CORE_START_LOCK_H

/* Takes the lock without waiting. Returns a close-on-exec descriptor, -EWOULDBLOCK (another
 * process has it, or the file was just removed), or -errno. */
int swi_start_lock_take(const char *socket_path);
/* Releases the lock; the file stays. A child forked in the meantime has the descriptor, but not the
 * lock. */
void swi_start_lock_release(int fd);
/* Removes the file and releases the lock. */
void swi_start_lock_remove(const char *socket_path, int fd);

#endif
