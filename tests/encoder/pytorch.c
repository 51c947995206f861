/* SPDX-License-Identifier: MIT */
/* The public calls against PyTorch's numbers (tests/goldens/bert.safetensors, case "plain"): a seeded
 * two-layer model that swchunk writes, a real broker serves and sw_encoder_* runs, with each head, in
 * each layout and element type. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include <sw/sw.h>

#include "core/safetensors.h"
#include "support/support.h"

#define GOLDENS SW_SOURCE_DIR "/tests/goldens/bert.safetensors"
#define BAR     5e-6

enum { HIDDEN = 64, VOCAB = 211, LABELS = 3, SEQUENCES = 3, TOKENS = 18 };

static char *bytes;
static struct swi_safetensors goldens;
static uint32_t lengths[SEQUENCES], fill_tokens[SEQUENCES];
static int32_t ids[TOKENS], types[TOKENS];
static uint8_t mask[TOKENS];
static struct sw_encoder_batch batch;

static const void *golden(const char *name, size_t size)
{
    const struct swi_tensor *tensor = swi_safetensors_find(&goldens, sup_format("plain.%s", name));
    cr_assert(tensor && tensor->bytes == size, "%s", name);
    return bytes + tensor->offset;
}

static int64_t number(const char *name, size_t count, size_t i)
{
    int64_t value;
    memcpy(&value, (const char *)golden(name, count * sizeof value) + i * sizeof value,
           sizeof value);
    return value;
}

static void read_goldens(void)
{
    size_t size;
    struct swi_error error = {0};
    bytes = sup_read(GOLDENS, &size);
    cr_assert_eq(swi_safetensors_parse(bytes, size, size, &goldens, NULL, &error), 0, "%s",
                 error.text);
    for (size_t i = 0; i < SEQUENCES; i++) {
        lengths[i] = (uint32_t)number("lengths", SEQUENCES, i);
        fill_tokens[i] = (uint32_t)number("fill_tokens", SEQUENCES, i);
    }
    for (size_t i = 0; i < TOKENS; i++) {
        ids[i] = (int32_t)number("ids", TOKENS, i);
        types[i] = (int32_t)number("types", TOKENS, i);
        mask[i] = (uint8_t)number("mask", TOKENS, i);
    }
    batch = (struct sw_encoder_batch)SW_INIT(struct sw_encoder_batch);
    batch.sequences = SEQUENCES;
    batch.lengths = lengths;
    batch.ids = ids;
    batch.type_ids = types;
    batch.mask = mask;
}

static void expect_close(const float *got, const char *model, const char *dtype, const char *what,
                         size_t count)
{
    const char *want = golden(sup_format("%s.%s", dtype, what), count * sizeof(float));
    double worst = 0;
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, want + i * sizeof value, sizeof value);
        worst = isfinite(got[i]) ? fmax(worst, fabs((double)got[i] - (double)value)) : INFINITY;
    }
    cr_expect_leq(worst, BAR, "%s, %s: off by %g", model, what, worst);
}

static void check_classifier(sw_encoder *encoder, const char *model, const char *dtype)
{
    float hidden[TOKENS * HIDDEN], pooled[SEQUENCES * HIDDEN], logits[SEQUENCES * LABELS];
    struct sw_encoder_output output = SW_INIT(struct sw_encoder_output);
    output.last_hidden_state = hidden;
    output.pooler_output = pooled;
    cr_assert_eq(sw_encoder_forward(encoder, &batch, &output), 0);
    cr_assert_eq(sw_encoder_classify(encoder, &batch, logits, NULL), 0);
    expect_close(hidden, model, dtype, "hidden", TOKENS * HIDDEN);
    expect_close(pooled, model, dtype, "pooled", SEQUENCES * HIDDEN);
    expect_close(logits, model, dtype, "logits", SEQUENCES * LABELS);
}

static void check_fill(sw_encoder *encoder, const char *model, const char *dtype)
{
    static float logits[SEQUENCES * VOCAB];
    cr_assert_eq(sw_encoder_fill(encoder, &batch, fill_tokens, SEQUENCES, logits), 0);
    expect_close(logits, model, dtype, "fill", SEQUENCES * VOCAB);
}

static void check_heads(const char *const head[2],
                        void (*check)(sw_encoder *, const char *, const char *))
{
    static const char *const dtypes[] = {"f32", "f16", "bf16"}, *const layouts[] = {"rows",
                                                                                    "panel"};
    const char *catalog = sup_path("catalog");
    sup_mkdir(catalog);
    for (size_t i = 0; i < 6; i++)
        sup_synth(catalog, sup_format("%s-%s", dtypes[i / 2], layouts[i % 2]),
                  SUP_ARGS("--seed", "11", "--hidden", "64", "--heads", "2", "--intermediate",
                           "128", "--vocab-size", "211", "--max-positions", "64", "--dtype",
                           dtypes[i / 2], "--layout", layouts[i % 2], head[0], head[1]));
    struct sup_broker broker = sup_broker_start(catalog, "64M", NULL);
    sw_client *client = NULL;
    cr_assert_eq(sw_client_open(NULL, &client), 0);
    read_goldens();
    for (size_t i = 0; i < 6; i++) {
        const char *model = sup_format("%s-%s", dtypes[i / 2], layouts[i % 2]);
        sw_encoder *encoder = NULL;
        cr_assert_eq(sw_encoder_open(client, model, NULL, &encoder), 0);
        check(encoder, model, dtypes[i / 2]);
        sw_encoder_close(encoder);
    }
    swi_safetensors_fini(&goldens);
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

Test(pytorch, states_and_classes, .timeout = 100)
{
    check_heads((const char *const[]){"--labels", "3"}, check_classifier);
}

Test(pytorch, masked_words, .timeout = 100)
{
    check_heads((const char *const[]){"--mlm", NULL}, check_fill);
}
