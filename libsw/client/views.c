/* SPDX-License-Identifier: MIT */
/* The parsed views that a model keeps. All with the client's lock held. */
#include "client/views.h"

void swi_views_trim(struct sw_model *model)
{
    struct swi_cached *cached;
    while ((cached = swi_component_cache_take_surplus(&model->cache)))
        swi_view_unref(swi_view_of(cached));
}

void swi_views_clear(struct sw_model *model)
{
    struct swi_cached *cached;
    while ((cached = swi_component_cache_take_any(&model->cache)))
        swi_view_unref(swi_view_of(cached));
}

void swi_components_fini(struct sw_model *model)
{
    swi_views_clear(model);
    struct sw_component *component;
    while ((component = model->idle)) {
        model->idle = component->next;
        free(component);
    }
    for (uint32_t i = 0; i < model->count; i++)
        free(model->strings[i]);
}

struct swi_view *swi_views_keep(struct sw_model *model, uint32_t component, struct swi_view *view,
                                const struct swi_strings *strings)
{
    struct swi_strings *owned = (struct swi_strings *)(uintptr_t)strings;
    if (!model->strings[component])
        model->strings[component] = owned;
    struct swi_view *kept = swi_view_of(swi_component_cache_peek(&model->cache, component));
    if (kept) {
        free(view);
    } else {
        kept = view;
        kept->cached.component = component;
        kept->strings = model->strings[component];
        kept->references = 1;
        swi_component_cache_put(&model->cache, &kept->cached);
    }
    if (model->strings[component] != owned)
        free(owned);
    kept->references++; /* the caller's */
    swi_views_trim(model);
    return kept;
}
