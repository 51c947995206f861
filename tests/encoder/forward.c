/* SPDX-License-Identifier: MIT */
/* The encoder against PyTorch's numbers (tests/goldens, made by goldens/make.py, and a real model's where
 * present) and against the definition in double. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoder/model.h"
#include "kernels/random.h"
#include "support/support.h"

#define SYNTHETIC SW_SOURCE_DIR "/tests/goldens/bert.safetensors"

static const enum sw_dtype dtypes[3] = {SW_DTYPE_F32, SW_DTYPE_F16, SW_DTYPE_BF16};
static const char *const dtype_names[3] = {"f32", "f16", "bf16"};

/* ---- batches from files ------------------------------------------------------------------------------ */

struct owned_batch {
    struct sw_encoder_batch batch;
    uint32_t *lengths;
    int32_t *ids, *types;
    uint8_t *mask;
    uint32_t tokens;
};

static void free_batch(struct owned_batch *b)
{
    free(b->lengths);
    free(b->ids);
    free(b->types);
    free(b->mask);
}

static struct owned_batch new_batch(uint32_t sequences, uint32_t tokens)
{
    struct owned_batch b = {.tokens = tokens};
    b.lengths = aligned_bytes(sequences * sizeof *b.lengths);
    b.ids = aligned_bytes(tokens * sizeof *b.ids);
    b.types = aligned_bytes(tokens * sizeof *b.types);
    b.mask = aligned_bytes(tokens * sizeof *b.mask);
    b.batch = (struct sw_encoder_batch){.size = sizeof b.batch,
                                        .sequences = sequences,
                                        .lengths = b.lengths,
                                        .ids = b.ids,
                                        .type_ids = b.types,
                                        .mask = b.mask};
    return b;
}

static const int64_t *numbers(const struct tensor_file *file, const char *name, const char *what,
                              size_t *ret_count)
{
    char full[64];
    (void)snprintf(full, sizeof full, "%s.%s", name, what);
    const int64_t *data = tensor_file_data(file, full, SW_DTYPE_I64, ret_count);
    cr_assert(data, "no %s", full);
    return data;
}

static struct owned_batch read_batch(const struct tensor_file *file, const char *name)
{
    size_t sequences, tokens;
    const int64_t *lengths = numbers(file, name, "lengths", &sequences);
    const int64_t *ids = numbers(file, name, "ids", &tokens);
    const int64_t *types = numbers(file, name, "types", NULL);
    const int64_t *mask = numbers(file, name, "mask", NULL);
    struct owned_batch b = new_batch((uint32_t)sequences, (uint32_t)tokens);
    for (size_t i = 0; i < sequences; i++)
        b.lengths[i] = (uint32_t)lengths[i];
    for (size_t i = 0; i < tokens; i++) {
        b.ids[i] = (int32_t)ids[i];
        b.types[i] = (int32_t)types[i];
        b.mask[i] = (uint8_t)mask[i];
    }
    return b;
}

static double worst_difference(const float *got, const float *want, size_t count)
{
    double worst = 0;
    for (size_t i = 0; i < count; i++) {
        cr_assert(isfinite(got[i]));
        worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
    }
    return worst;
}

/* ---- synthetic models --------------------------------------------------------------------------------- */

static const float *golden(const struct tensor_file *file, const char *name, const char *dtype,
                           const char *what)
{
    char full[64];
    (void)snprintf(full, sizeof full, "%s.%s.%s", name, dtype, what);
    return tensor_file_data(file, full, SW_DTYPE_F32, NULL);
}

/* One case in one form; the largest difference from PyTorch. */
static double try_case(const struct tensor_file *file, const char *name,
                       const struct bert_model *model, const char *dtype)
{
    const float *pooled_golden = golden(file, name, dtype, "pooled");
    uint32_t width = bert_model_config(model)->hidden;
    struct owned_batch b = read_batch(file, name);
    float *hidden = aligned_bytes((size_t)b.tokens * width * sizeof *hidden);
    float *pooled = aligned_bytes((size_t)b.batch.sequences * width * sizeof *pooled);
    swi_engine *engine = NULL;
    cr_assert_eq(swi_engine_create(bert_model_config(model), 1, &engine), 0);
    bert_model_forward(model, engine, &b.batch, hidden, pooled_golden ? pooled : NULL);

    size_t rows;
    const int64_t *row = numbers(file, name, "rows", &rows);
    const float *want = golden(file, name, dtype, "hidden");
    double worst = 0;
    for (size_t i = 0; i < rows; i++)
        worst =
            fmax(worst, worst_difference(hidden + (size_t)row[i] * width, want + i * width, width));
    if (pooled_golden)
        worst = fmax(worst, worst_difference(pooled, pooled_golden, b.batch.sequences * width));
    swi_engine_destroy(engine);
    free(hidden);
    free(pooled);
    free_batch(&b);
    return worst;
}

static void check_case(const char *name, double bar)
{
    struct tensor_file file = tensor_file_read(SYNTHETIC);
    char key[64];
    (void)snprintf(key, sizeof key, "%s.config", name);
    const char *config = swi_safetensors_metadata(&file.header, key);
    uint64_t seed = strtoull(swi_safetensors_metadata(&file.header, "seed"), NULL, 10);
    for (unsigned dtype = 0; dtype < 3; dtype++) {
        bool pooler = golden(&file, name, dtype_names[dtype], "pooled") != NULL;
        struct bert_model *model = bert_model_synth(config, pooler, seed);
        for (int layout = 0; layout < 2; layout++) {
            const char *layout_name = sw_layout_name((enum sw_layout)layout);
            bert_model_store(model, (enum sw_layout)layout, dtypes[dtype]);
            double worst = try_case(&file, name, model, dtype_names[dtype]);
            printf("%s %s %s: %.2g\n", name, layout_name, dtype_names[dtype], worst);
            cr_expect(worst <= bar, "%s, %s, %s: off by %.3g", name, layout_name,
                      dtype_names[dtype], worst);
        }
        bert_model_free(model);
    }
    tensor_file_free(&file);
}

Test(engine, gives_pytorchs_numbers_for_a_plain_model, .timeout = 60)
{
    check_case("plain", 5e-6);
}
Test(engine, gives_pytorchs_numbers_for_odd_sizes, .timeout = 60)
{
    check_case("odd", 5e-6);
}
Test(engine, gives_pytorchs_numbers_with_relu, .timeout = 60)
{
    check_case("relu", 5e-6);
}
Test(engine, gives_pytorchs_numbers_after_twelve_layers, .timeout = 100)
{
    check_case("deep", 2e-5);
}

/* ---- the real model --------------------------------------------------------------------------------- */

/* A padded case of the golden file, its padding cut off. *ret_map: the padded row of each token. */
static struct owned_batch cut_padding(const struct tensor_file *file, const char *name,
                                      size_t *ret_padded, uint32_t **ret_map)
{
    size_t all;
    const int64_t *ids = numbers(file, name, "input_ids", &all);
    const int64_t *types = numbers(file, name, "token_type_ids", NULL);
    const int64_t *mask = numbers(file, name, "attention_mask", NULL);
    char full[64];
    (void)snprintf(full, sizeof full, "%s.input_ids", name);
    uint64_t sequences = swi_safetensors_find(&file->header, full)->shape[0];
    size_t padded = all / (size_t)sequences;
    struct owned_batch b = new_batch((uint32_t)sequences, (uint32_t)all);
    uint32_t *map = aligned_bytes(all * sizeof *map);
    b.tokens = 0;
    for (size_t s = 0; s < sequences; s++) {
        b.lengths[s] = 0;
        for (size_t i = s * padded; i < (s + 1) * padded; i++) {
            if (!mask[i])
                continue;
            b.lengths[s]++;
            map[b.tokens] = (uint32_t)i;
            b.ids[b.tokens] = (int32_t)ids[i];
            b.types[b.tokens++] = (int32_t)types[i];
        }
    }
    b.batch.mask = NULL;
    *ret_padded = padded;
    *ret_map = map;
    return b;
}

static double try_tiny(const struct bert_model *model, const struct tensor_file *file,
                       const char *name)
{
    uint32_t width = bert_model_config(model)->hidden, *map;
    size_t padded;
    struct owned_batch b = cut_padding(file, name, &padded, &map);
    float *hidden = aligned_bytes((size_t)b.tokens * width * sizeof *hidden);
    float *pooled = aligned_bytes((size_t)b.batch.sequences * width * sizeof *pooled);
    swi_engine *engine = NULL;
    cr_assert_eq(swi_engine_create(bert_model_config(model), 1, &engine), 0);
    bert_model_forward(model, engine, &b.batch, hidden, pooled);
    char full[64];
    (void)snprintf(full, sizeof full, "%s.last_hidden_state", name);
    const float *want = tensor_file_data(file, full, SW_DTYPE_F32, NULL);
    (void)snprintf(full, sizeof full, "%s.pooler_output", name);
    const float *want_pooled = tensor_file_data(file, full, SW_DTYPE_F32, NULL);
    double worst = worst_difference(pooled, want_pooled, b.batch.sequences * width);
    for (uint32_t t = 0; t < b.tokens; t++)
        worst = fmax(worst, worst_difference(hidden + (size_t)t * width,
                                             want + (size_t)map[t] * width, width));
    swi_engine_destroy(engine);
    free(hidden);
    free(pooled);
    free(map);
    free_batch(&b);
    return worst;
}

Test(engine, gives_pytorchs_numbers_for_bert_tiny, .timeout = 100)
{
    struct tensor_file file =
        tensor_file_read(sup_test_data("models/bert-tiny/goldens.safetensors"));
    struct bert_model *model = bert_model_read(sup_test_data("models/bert-tiny"));
    for (int layout = 0; layout < 2; layout++) {
        bert_model_store(model, (enum sw_layout)layout, SW_DTYPE_F32);
        for (int i = 0; i < 5; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "case%d", i);
            double worst = try_tiny(model, &file, name);
            printf("bert-tiny %s %s: %.2g\n", sw_layout_name((enum sw_layout)layout), name, worst);
            cr_expect(worst <= 5e-6, "%s: off by %.3g", name, worst);
        }
    }
    bert_model_free(model);
    tensor_file_free(&file);
}

/* ---- the definition ------------------------------------------------------------------------------------ */

static void random_batch(uint64_t *state, struct owned_batch *b, const uint32_t *lengths,
                         const struct swi_encoder_config *c)
{
    for (uint32_t s = 0; s < b->batch.sequences; s++)
        b->lengths[s] = lengths[s];
    for (uint32_t t = 0; t < b->tokens; t++) {
        b->ids[t] = (int32_t)(fabsf(random_float(state, 1.0f)) * 0.999f * (float)c->vocab);
        b->types[t] = (int32_t)(t % c->types);
        b->mask[t] = t % 7 != 3;
    }
}

static void check_reference(struct bert_model *model, const uint32_t *lengths, uint32_t sequences,
                            double bar)
{
    const struct swi_encoder_config *c = bert_model_config(model);
    uint64_t state = 5;
    uint32_t tokens = 0;
    for (uint32_t i = 0; i < sequences; i++)
        tokens += lengths[i];
    struct owned_batch b = new_batch(sequences, tokens);
    random_batch(&state, &b, lengths, c);
    size_t count = (size_t)tokens * c->hidden;
    float *hidden = aligned_bytes(count * sizeof *hidden);
    double *want = aligned_bytes(count * sizeof *want), worst = 0;
    swi_engine *engine = NULL;
    cr_assert_eq(swi_engine_create(c, 1, &engine), 0);
    bert_model_forward(model, engine, &b.batch, hidden, NULL);
    bert_model_reference(model, &b.batch, want, NULL);
    for (size_t i = 0; i < count; i++)
        worst = fmax(worst, fabs((double)hidden[i] - want[i]));
    printf("off by %.2g\n", worst);
    cr_expect(worst <= bar, "off by %.3g", worst);
    swi_engine_destroy(engine);
    free(hidden);
    free(want);
    free_batch(&b);
}

Test(engine, halves_of_bert_tiny_are_its_definition, .timeout = 100)
{
    static const uint32_t lengths[] = {3, 30, 1};
    const char *tiny = sup_test_data("models/bert-tiny");
    for (unsigned dtype = 1; dtype < 3; dtype++) {
        struct bert_model *model = bert_model_read(tiny);
        for (int layout = 0; layout < 2; layout++) {
            bert_model_store(model, (enum sw_layout)layout, dtypes[dtype]);
            check_reference(model, lengths, 3, 2e-5);
        }
        bert_model_free(model);
    }
}

#define SMALL(hidden, heads, inner, more)                                                          \
    "{\"model_type\": \"bert\", \"num_hidden_layers\": 2, \"hidden_size\": " hidden                \
    ", \"num_attention_heads\": " heads ", \"intermediate_size\": " inner                          \
    ", \"vocab_size\": 50, \"max_position_embeddings\": 600" more "}"

Test(engine, any_shape_is_its_definition, .timeout = 100)
{
    static const char *const configs[] = {
        SMALL("15", "5", "7", ""), SMALL("1", "1", "1", ", \"layer_norm_eps\": 0.5"),
        SMALL("36", "2", "130", ", \"hidden_act\": \"relu\", \"type_vocab_size\": 1"),
        SMALL("400", "1", "20",
              ", \"hidden_act\": \"gelu_new\""), /* a head over one stretch of K */
    };
    static const uint32_t lengths[] = {2, 19, 6};
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        struct bert_model *model = bert_model_synth(configs[i], false, i);
        bert_model_store(model, SW_LAYOUT_PANEL, SW_DTYPE_F16);
        check_reference(model, lengths, 3, 1e-5);
        bert_model_free(model);
    }
}

Test(engine, long_sequences_are_their_definition, .timeout = 100)
{
    static const uint32_t lengths[] = {600, 401};
    struct bert_model *model = bert_model_synth(SMALL("32", "2", "48", ""), false, 3);
    bert_model_store(model, SW_LAYOUT_PANEL, SW_DTYPE_F32);
    check_reference(model, lengths, 2, 5e-6);
    bert_model_free(model);
}

/* ---- to the bit ---------------------------------------------------------------------------------------- */

#define MIXED SMALL("72", "3", "300", "")

Test(engine, a_sequence_does_not_depend_on_the_others, .timeout = 60)
{
    static const uint32_t lengths[] = {5, 200, 1, 18, 33, 7, 120};
    enum { SEQUENCES = 7 };
    struct bert_model *model = bert_model_synth(MIXED, false, 4);
    bert_model_store(model, SW_LAYOUT_PANEL, SW_DTYPE_F16);
    const struct swi_encoder_config *c = bert_model_config(model);
    uint64_t state = 6;
    struct owned_batch b = new_batch(SEQUENCES, 384);
    random_batch(&state, &b, lengths, c);
    swi_engine *engine = NULL;
    cr_assert_eq(swi_engine_create(c, 1, &engine), 0);
    float *together = aligned_bytes((size_t)b.tokens * c->hidden * sizeof *together);
    float *alone = aligned_bytes((size_t)b.tokens * c->hidden * sizeof *alone);
    bert_model_forward(model, engine, &b.batch, together, NULL);
    for (uint32_t s = 0, first = 0; s < SEQUENCES; first += lengths[s++]) {
        struct sw_encoder_batch one = b.batch;
        one.sequences = 1;
        one.lengths = &lengths[s];
        one.ids += first;
        one.type_ids += first;
        one.mask += first;
        bert_model_forward(model, engine, &one, alone, NULL);
        cr_expect(!memcmp(alone, together + (size_t)first * c->hidden,
                          (size_t)lengths[s] * c->hidden * sizeof *alone),
                  "sequence %u", s);
    }
    swi_engine_destroy(engine);
    free(together);
    free(alone);
    free_batch(&b);
    bert_model_free(model);
}

Test(engine, threads_change_no_bit, .timeout = 100)
{
    static const uint32_t lengths[] = {5, 200, 1, 18};
    static const unsigned counts[] = {1, 2, 3, 5};
    struct bert_model *model = bert_model_synth(MIXED, false, 4);
    bert_model_store(model, SW_LAYOUT_ROWS, SW_DTYPE_BF16);
    const struct swi_encoder_config *c = bert_model_config(model);
    uint64_t state = 8;
    struct owned_batch b = new_batch(4, 224);
    random_batch(&state, &b, lengths, c);
    size_t count = (size_t)b.tokens * c->hidden;
    float *first = aligned_bytes(count * sizeof *first),
          *other = aligned_bytes(count * sizeof *other);
    for (size_t i = 0; i < 4; i++) {
        swi_engine *engine = NULL;
        cr_assert_eq(swi_engine_create(c, counts[i], &engine), 0);
        for (int again = 0; again < 3; again++) {
            bert_model_forward(model, engine, &b.batch, i ? other : first, NULL);
            cr_expect(i == 0 || !memcmp(first, other, count * sizeof *first), "%u threads",
                      counts[i]);
        }
        swi_engine_destroy(engine);
    }
    free(first);
    free(other);
    free_batch(&b);
    bert_model_free(model);
}

Test(engine, a_smaller_batch_needs_no_new_memory, .timeout = 60)
{
    static const uint32_t many[] = {100, 30, 64}, few[] = {9};
    struct bert_model *model = bert_model_synth(MIXED, false, 4);
    bert_model_store(model, SW_LAYOUT_PANEL, SW_DTYPE_F32);
    const struct swi_encoder_config *c = bert_model_config(model);
    uint64_t state = 9;
    struct owned_batch large = new_batch(3, 194), small = new_batch(1, 9);
    random_batch(&state, &large, many, c);
    random_batch(&state, &small, few, c);
    float *out = aligned_bytes((size_t)large.tokens * c->hidden * sizeof *out);
    swi_engine *engine = NULL;
    cr_assert_eq(swi_engine_create(c, 1, &engine), 0);
    bert_model_forward(model, engine, &large.batch, out, NULL);
    uint64_t bytes = swi_engine_scratch_bytes(engine);
    cr_expect(bytes > 0);
    bert_model_forward(model, engine, &small.batch, out, NULL);
    bert_model_forward(model, engine, &large.batch, out, NULL);
    cr_expect_eq(swi_engine_scratch_bytes(engine), bytes);
    swi_engine_destroy(engine);
    free(out);
    free_batch(&large);
    free_batch(&small);
    bert_model_free(model);
}
