/* SPDX-License-Identifier: MIT */
/* Where the private broker of a user and a directory of models listens (sw_client(3), SW_AUTOSTART).
 */
#ifndef SWI_CORE_PRIVATE_SOCKET_H
#define SWI_CORE_PRIVATE_SOCKET_H

#include "core/error.h"

/* The socket for the real path of a directory of models; *ret is malloc'd. Creates the directory of
 * the socket, which only this user may access. Errors: -errno, SW_EUNTRUSTED, -ENOMEM. */
int swi_private_socket_name(const char *chunks, char **ret, struct swi_error *error);

/* The private broker that clients with this environment use, if it runs and nobody listens at the
 * usual path: its socket, malloc'd. NULL: none. */
char *swi_private_socket_find(const char *usual);

#endif
