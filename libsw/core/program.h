/* SPDX-License-Identifier: MIT */
/* What every program of the project does before anything else. Not for the library, whose host has
 * decided about these things. */
#ifndef SWI_CORE_PROGRAM_H
#define SWI_CORE_PROGRAM_H

/* Call at the start of main.
 *
 * Standard descriptors that the program was started without are occupied, so that no file or socket
 * opened later takes their numbers. They stay useless: reading standard input, or writing to the
 * other two, fails with EBADF as it does on a closed descriptor.
 *
 * SIGXFSZ is ignored: a file that reaches the limit of file sizes is an error of write (EFBIG). */
void swi_program_begin(void);

/* For the library: moves a descriptor that took the number of a standard one out of the way,
 * because the host may read or write those. Returns a close-on-exec descriptor of at least 3, which
 * is fd itself where that is one already; a negative fd as it is; or -errno, with fd closed. */
int swi_above_standard(int fd);

#endif
