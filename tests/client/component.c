/* SPDX-License-Identifier: MIT */
/* Components against a scripted peer: tensor views and the cache of them. */
#include <criterion/criterion.h>
#include <string.h>

#include <sw/client.h>

#include "client/fixture.h"
#include "client/view.h"
#include "support/support.h"

TestSuite(client_component, .timeout = 30);

Test(client_component, tensors_are_views_into_the_arena)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    sw_component *component;
    cr_assert_eq(sw_component_acquire(model, 2, &component), 0);
    cr_expect_eq(sw_component_tensor_count(component), 2);
    struct sw_tensor tensor = SW_INIT(struct sw_tensor);
    cr_assert_eq(sw_component_tensor(component, "b.weight", &tensor), 0);
    cr_expect_eq(tensor.layout, SW_LAYOUT_PANEL);
    cr_expect_eq(tensor.dtype, SW_DTYPE_F32);
    cr_expect_eq(tensor.rank, 3);
    cr_expect_eq(tensor.shape[0], 3);
    cr_expect_eq(tensor.strides[0], 16);
    cr_expect_eq(tensor.strides[2], 1);
    cr_expect_eq(tensor.bytes, 48 * 4);
    cr_expect_eq((uintptr_t)tensor.data % 64, 0);
    cr_assert_eq(sw_component_tensor(component, "a.weight", &tensor), 0);
    cr_expect_eq(tensor.layout, SW_LAYOUT_ROWS);
    cr_expect_float_eq(((const float *)tensor.data)[5], peer_element(2, 5), 0);
    cr_expect_eq(sw_component_tensor(component, "c.weight", &tensor), SW_ENOCOMPONENT);
    expect_message(client, SW_ENOCOMPONENT, "c.weight");
    cr_expect_eq(sw_component_tensor_at(component, 2, &tensor), SW_ENOCOMPONENT);
    cr_expect_str_eq(sw_component_metadata(component, "component"), "2");
    cr_expect_null(sw_component_metadata(component, "colour"));
    cr_expect_eq(sw_component_release(component), 0);
    close_all(model, client);
}

Test(client_component, keeps_components_by_recent_use)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    struct sw_cache_info info = SW_INIT(struct sw_cache_info);
    cr_expect_eq(sw_model_get_cache_info(model, &info), 0);
    cr_expect_eq(info.capacity, PEER_COMPONENTS, "all of the model by default");
    cr_expect_eq(sw_model_set_cache_size(model, 2), 0);
    use(model, 0);
    use(model, 1);
    use(model, 0);
    use(model, 2); /* 1 leaves */
    const char *names[4] = {NULL};
    cr_expect_eq(sw_model_cached_names(model, names, 4), 2);
    cr_expect_str_eq(names[0], "layer_1");
    cr_expect_str_eq(names[1], "embeddings");
    cr_expect_eq(sw_model_get_cache_info(model, &info), 0);
    cr_expect_eq(info.count, 2);
    cr_expect_eq(info.hits, 1);
    cr_expect_eq(info.misses, 3);
    cr_expect_eq(info.mapped_bytes, peer.bytes[0] + peer.bytes[2]);
    cr_expect_gt(info.private_bytes, 0);
    cr_expect_eq(sw_model_set_cache_size(model, 1), 0);
    cr_expect_eq(sw_model_cached_names(model, names, 4), 1, "shrinking evicts at once");
    cr_expect_str_eq(names[0], "layer_1");
    sw_model_clear_cache(model);
    cr_expect_eq(sw_model_get_cache_info(model, &info), 0);
    cr_expect_eq(info.count, 0);
    cr_expect_eq(info.private_bytes, 0);
    cr_expect_eq(info.mapped_bytes, 0);
    close_all(model, client);
}

Test(client_component, names_live_as_long_as_the_model)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    sw_component *component;
    struct sw_tensor tensor = SW_INIT(struct sw_tensor);
    cr_assert_eq(sw_component_acquire(model, 0, &component), 0);
    cr_assert_eq(sw_component_tensor(component, "a.weight", &tensor), 0);
    const char *value = sw_component_metadata(component, "layout");
    sw_model_set_cache_size(model, 0);
    cr_expect_str_eq(tensor.name, "a.weight", "in use while its view was given up");
    cr_assert_eq(sw_component_release(component), 0);
    const char *name = tensor.name;
    use(model, 0);
    cr_expect_str_eq(name, "a.weight");
    cr_expect_str_eq(value, "panel");
    cr_assert_eq(sw_component_acquire(model, 0, &component), 0);
    cr_assert_eq(sw_component_tensor(component, "a.weight", &tensor), 0);
    cr_expect_eq(tensor.name, name, "parsing again makes no second copy");
    cr_assert_eq(sw_component_release(component), 0);
    close_all(model, client);
}

/* The linker lets the library's call pass through here. */
int __wrap_swi_view_parse(const void *chunk, uint64_t bytes, const struct swi_strings *known,
                          struct swi_view **ret, const struct swi_strings **ret_strings,
                          struct swi_error *error);
int __real_swi_view_parse(const void *chunk, uint64_t bytes, const struct swi_strings *known,
                          struct swi_view **ret, const struct swi_strings **ret_strings,
                          struct swi_error *error);
static bool overwrite_while_parsing;

int __wrap_swi_view_parse(const void *chunk, uint64_t bytes, const struct swi_strings *known,
                          struct swi_view **ret, const struct swi_strings **ret_strings,
                          struct swi_error *error)
{
    if (overwrite_while_parsing) {
        overwrite_while_parsing = false;
        peer_revoke(&peer);
        cr_assert(peer_evict(&peer, 0));
        memcpy(peer.arena + swi_entry_get(peer.index, 0).offset, peer.content[1], peer.bytes[1]);
    }
    return __real_swi_view_parse(chunk, bytes, known, ret, ret_strings, error);
}

Test(client_component, views_of_bytes_that_were_taken_away_are_not_kept)
{
    peer_start(&peer, sup_path("peer.sock"), NULL);
    sw_client *client = open_client(2000);
    sw_model *model = open_toy(client);
    sw_component *component = NULL;
    overwrite_while_parsing = true;
    cr_expect_eq(sw_component_acquire(model, 0, &component), SW_EREVOKED);
    cr_expect_not(overwrite_while_parsing);
    cr_expect_null(component);
    cr_assert_eq(sw_component_acquire(model, 0, &component), 0);
    cr_expect_str_eq(sw_component_metadata(component, "component"), "0");
    cr_expect_eq(sw_component_release(component), 0);
    close_all(model, client);
}
