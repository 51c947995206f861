/* Telling the service manager how far the broker is (sd_notify's protocol: text lines in one
 * datagram). */
#ifndef SWB_NOTIFY_H
#define SWB_NOTIFY_H

/* "READY=1", "STOPPING=1" … Does nothing without $NOTIFY_SOCKET. */
void notify_manager(const char *state);

#endif
