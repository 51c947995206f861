/* SPDX-License-Identifier: MIT */
/* What the tests of restarts share: a broker under a service manager that keeps its descriptors, a
 * client of it, and the model that the client has open. A helper that cannot do its work fails the
 * test.
 */
#ifndef SWT_RESTART_SCENE_H
#define SWT_RESTART_SCENE_H

#include <stddef.h>

#include "handover/ledger.h"
#include "support/managed.h"
#include "support/raw.h"

#define SCENE_ROOM  64u  /* descriptors that the manager keeps */
#define SCENE_CACHE "32" /* MB; the model has about 9 */

struct scene {
    struct managed managed;
    struct raw raw;
    struct raw_model model; /* "tiny" */
};

/* The catalog's directory, made when it is not there. */
const char *scene_models(void);
/* max: descriptors that the manager keeps; extra: more options of the broker, or NULL. */
struct scene scene_open(unsigned max, const char *const extra[]);
void scene_close(struct scene *scene);

/* ---- the client ------------------------------------------------------------------------------ */

/* Until the broker is done with the last message, and not only has answered it: who is killed in
 * between lets its successor answer again. */
void scene_let_finish(const struct scene *scene);
void scene_load_all(struct scene *scene);
void scene_send_load(struct scene *scene, uint32_t ordinal);
enum swi_look scene_look(const struct scene *scene, uint32_t ordinal, struct swi_sight *ret);
bool scene_still_valid(const struct scene *scene, uint32_t ordinal, uint64_t generation);
/* Opens a scene, pins component 1 and stops the broker. Returns the generation that is held. */
uint64_t scene_hold_and_stop(struct scene *scene);

/* ---- what is stored -------------------------------------------------------------------------- */

/* context: a struct managed; for sup_until. */
bool scene_nobody_is_stored(void *context);

#define LEDGER_AT(member) offsetof(struct ledger, member)
/* Of the one stored descriptor of that name. */
void scene_overwrite(struct scene *scene, const char *name, size_t offset, const void *data,
                     size_t size);
/* Brokers that have begun to take it over since one has lived on. */
uint32_t scene_count_tries(struct scene *scene);
void scene_set_tries(struct scene *scene, uint32_t count);
/* The broker was stopped, what it left was changed: it starts empty, and who was attached is told.
 */
void scene_starts_empty(struct scene *scene);

#endif
