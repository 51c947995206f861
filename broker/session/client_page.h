/* SPDX-License-Identifier: MIT */
/* The client page of one session: created here, written by its client; the broker reads it and never
 * trusts it. */
#ifndef SWB_SESSION_CLIENT_PAGE_H
#define SWB_SESSION_CLIENT_PAGE_H

#include "core/error.h"
#include "core/layout.h"

/* *ret_page: a read-only mapping for the broker. *ret_fd: for the client; the caller closes it. */
int client_page_create(struct swi_page **ret_page, int *ret_fd, struct swi_error *error);
/* Maps a page that client_page_create made in an earlier process. SW_EVERSION: fd is not such a page.
 * fd stays the caller's. */
int client_page_adopt(int fd, struct swi_page **ret_page, struct swi_error *error);
void client_page_destroy(struct swi_page *page);

#endif
