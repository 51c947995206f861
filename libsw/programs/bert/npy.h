/* SPDX-License-Identifier: MIT */
/* A float32 array in NumPy's file format on standard output.
 *
 * The header says how many rows there are, which is known only at the end; so rows are kept in an
 * unlinked temporary file (in $TMPDIR, or /tmp) until then. Standard output gets the whole array or
 * nothing.
 */
#ifndef SWI_PROGRAMS_BERT_NPY_H
#define SWI_PROGRAMS_BERT_NPY_H

#include <stddef.h>
#include <stdint.h>

struct npy {
    int fd;
    uint64_t rows;
    size_t width; /* columns */
};

/* All return 0 or -errno. */
int npy_begin(struct npy *npy, size_t width);
int npy_rows(struct npy *npy, const float *values, size_t rows);
int npy_finish(struct npy *npy);
void npy_close(struct npy *npy);

#endif
