/* SPDX-License-Identifier: MIT */
/* The parsed views that a model keeps. All with the client's lock held. */
#ifndef SWI_CLIENT_VIEWS_H
#define SWI_CLIENT_VIEWS_H

#include <stddef.h>
#include <stdlib.h>

#include "client/internal.h"
#include "client/view.h"

static inline struct swi_view *swi_view_of(struct swi_cached *cached)
{
    return cached ? (struct swi_view *)((char *)cached - offsetof(struct swi_view, cached)) : NULL;
}

static inline void swi_view_unref(struct swi_view *view)
{
    if (--view->references == 0)
        free(view);
}

/* The view of a component with a reference for the caller, or NULL; counts a hit or a miss. */
static inline struct swi_view *swi_views_find(struct sw_model *model, uint32_t component)
{
    struct swi_view *view = swi_view_of(swi_component_cache_find(&model->cache, component));
    if (view)
        view->references++;
    return view;
}

/* Keeps a new view, unless another thread was faster: then returns that thread's. Takes over view
 * and strings; the caller gets a reference. */
struct swi_view *swi_views_keep(struct sw_model *model, uint32_t component, struct swi_view *view,
                                const struct swi_strings *strings);
/* Drops the views that exceed the cache's limits, or all. */
void swi_views_trim(struct sw_model *model);
void swi_views_clear(struct sw_model *model);

#endif
