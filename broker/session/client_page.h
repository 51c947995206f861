/* SPDX-License-Identifier: MIT */
/* The client page of one session: made here, written by its client, read and never trusted by the
 * broker. */
#ifndef SWB_SESSION_CLIENT_PAGE_H
#define SWB_SESSION_CLIENT_PAGE_H

#include "core/error.h"
#include "core/layout.h"

/* *ret_page is the broker's read-only mapping; *ret_fd goes to the client and is the caller's to
 * close. */
int client_page_create(struct swi_page **ret_page, int *ret_fd, struct swi_error *error);
/* Maps a page that client_page_create made in a process that has ended. SW_EVERSION: it is none. fd stays
 * the caller's. */
int client_page_adopt(int fd, struct swi_page **ret_page, struct swi_error *error);
void client_page_destroy(struct swi_page *page);

#endif
