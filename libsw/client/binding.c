/* SPDX-License-Identifier: MIT */
/* Binding a model to sessions, and freeing it. All with the client's lock held. */
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"

void swi_model_bind(struct sw_model *model, struct swi_opened *opened)
{
    struct swi_binding *binding = opened->binding;
    opened->binding = NULL;
    SLIST_INSERT_HEAD(&model->bindings, binding, link);
    atomic_store_explicit(&model->binding, binding, memory_order_release);
}

static bool same_revision(const struct sw_model *model, const struct swi_opened *opened)
{
    if (opened->count != model->count)
        return false;
    for (uint32_t i = 0; i < model->count; i++) {
        const struct swi_component_desc *ours = &model->components[i],
                                        *now = &opened->components[i];
        if (strcmp(ours->name, now->name) != 0 || ours->bytes != now->bytes ||
            !swi_digest_equal(ours->digest, now->digest))
            return false;
    }
    return true;
}

void swi_model_rebind(struct sw_model *model, int result, const struct swi_error *error,
                      struct swi_opened *opened)
{
    if (result == 0 && same_revision(model, opened)) {
        model->stale.code = 0;
        swi_model_bind(model, opened);
        return;
    }
    atomic_store_explicit(&model->binding, NULL, memory_order_release);
    if (result == 0)
        (void)swi_fail(&model->stale, SW_ESTALE,
                       "the broker now has another revision; close the model and open it again");
    else
        (void)swi_fail(&model->stale, SW_ESTALE,
                       "the broker no longer serves this revision (%.200s); close the model and "
                       "open it again",
                       error->text);
}

void swi_model_unref(struct sw_model *model)
{
    if (--model->references > 0)
        return;
    swi_components_fini(model);
    swi_component_cache_fini(&model->cache);
    struct swi_binding *binding;
    while ((binding = SLIST_FIRST(&model->bindings))) {
        SLIST_REMOVE_HEAD(&model->bindings, link);
        free(binding);
    }
    swi_components_free(model->components, model->count);
    free(model->strings);
    free(model->name);
    free(model);
}
