/* Memory that lives until the test's process ends. */
#ifndef SUP_KEEP_H
#define SUP_KEEP_H

#include <stddef.h>

/* Zeroed, one byte longer than asked. Never NULL. */
void *sup_keep(size_t size);

#endif
