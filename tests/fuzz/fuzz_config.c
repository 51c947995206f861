/* SPDX-License-Identifier: MIT */
/* config.json as swchunk reads it: whatever is accepted can be planned, in every layout. */
#include "fuzz.h"
#include "programs/chunk/write/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct swi_encoder_config config;
    struct swi_error error = {0};
    if (swi_encoder_config_parse((const char *)data, size, &config, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return 0;
    }
    FUZZ_CHECK(config.layers > 0 && config.heads > 0 && config.hidden % config.heads == 0);
    struct model_features features = {
        .pooler = true, .mlm = true, .mlm_decoder = config.untied, .labels = config.labels};
    for (int layout = 0; layout < 2; layout++) {
        struct chunk_format format = {.layout = (enum sw_layout)layout, .dtype = SW_DTYPE_F16};
        struct plan plan;
        if (plan_make(&config, &features, format, &plan, &error) < 0)
            continue;
        FUZZ_CHECK(plan_bytes(&plan) > 0);
        for (size_t i = 0; i < plan.count; i++)
            FUZZ_CHECK(plan.chunks[i].count > 0 && plan.chunks[i].tensors[0].n > 0);
        plan_fini(&plan);
    }
    return 0;
}
