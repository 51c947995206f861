/* SPDX-License-Identifier: MIT */
/* Memory that lives until the test's process ends. */
#ifndef SWT_SUPPORT_KEEP_H
#define SWT_SUPPORT_KEEP_H

#include <stddef.h>

/* Returns zeroed memory, one byte more than size. Never NULL. */
void *sup_keep(size_t size);

#endif
