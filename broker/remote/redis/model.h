/* SPDX-License-Identifier: MIT */
/* Models in the Redis: publishing, finding and asking for them (remote.h).
 *
 *   publish   SETRANGE PREFIX:model:NAME:REVISION, 1 MiB at a time; EXPIRE or PERSIST;
 *             SET PREFIX:model:NAME "REVISION BYTES"
 *   find      GET PREFIX:model:NAME ─▶ GETRANGE PREFIX:model:NAME:REVISION, 1 MiB at a time
 *   ask       EXISTS PREFIX:model:NAME
 */
#ifndef SWB_REMOTE_REDIS_MODEL_H
#define SWB_REMOTE_REDIS_MODEL_H

#include "remote/redis/op.h"
#include "remote/remote.h"

/* Where models are kept. Borrowed by the jobs. */
struct redis_models {
    const char *prefix;
    const char *ttl; /* seconds; "": none */
    /* An operation on the port has ended: others may begin. */
    void (*ended)(struct redis_models *models);
};

void redis_model_publish(struct redis_models *models, const struct redis_port *port,
                         struct remote_publish *publish);
void redis_model_find(struct redis_models *models, const struct redis_port *port,
                      struct remote_find *find);
void redis_model_ask(struct redis_models *models, const struct redis_port *port,
                     struct remote_ask *ask);

#endif
