/* SPDX-License-Identifier: MIT */
/* The lock of who may start, or end, the broker of a socket: flock on the file "SOCKET.lock".
 *
 * Starters hold it from looking for a broker until the new one serves them; a broker that ends by
 * itself holds it from the decision until its socket is gone, and removes the file as the last
 * thing. So nobody starts a second broker, and nobody waits for one that has decided to go.
 *
 * Because the file is removed, a lock counts only while the file at the path is the one locked.
 */
#ifndef SWI_CORE_START_LOCK_H
#define SWI_CORE_START_LOCK_H

/* Takes the lock without waiting. Returns a descriptor (close-on-exec), -EWOULDBLOCK when another
 * has it or the file was just removed, or -errno. */
int swi_start_lock_take(const char *socket_path);
/* Gives it up; the file stays. A child forked meanwhile holds the descriptor too, and not the lock.
 */
void swi_start_lock_release(int fd);
/* Removes the file and gives the lock up. */
void swi_start_lock_remove(const char *socket_path, int fd);

#endif
