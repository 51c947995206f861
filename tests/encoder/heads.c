/* SPDX-License-Identifier: MIT */
/* Heads of BERT models on chunks that a real broker serves, against the definition computed in double from
 * the same hidden states and the tensors that the public API shows. */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sw/sw.h>

#include "support/support.h"

enum { HIDDEN = 128, VOCAB = 901, LABELS = 3, TOKENS = 9, SEQUENCES = 2 };

static const uint32_t lengths[SEQUENCES] = {4, 5};
static const int32_t ids[TOKENS] = {1, 50, 900, 3, 7, 7, 899, 450, 0};

static struct sup_broker broker;
static sw_client *client;

static void serve(const char *const synth_options[])
{
    const char *catalog = sup_path("catalog");
    sup_mkdir(catalog);
    (void)sup_synth(catalog, "model", synth_options);
    broker = sup_broker_start(catalog, "64", NULL);
    cr_assert_eq(sw_client_open(NULL, &client), 0);
}

static sw_encoder *open_model(void)
{
    sw_encoder *encoder = NULL;
    cr_assert_eq(sw_encoder_open(client, "model", NULL, &encoder), 0);
    return encoder;
}

static void finish(sw_encoder *encoder)
{
    sw_encoder_close(encoder);
    sw_client_close(client);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

static struct sw_encoder_batch batch_of(void)
{
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = SEQUENCES;
    batch.lengths = lengths;
    batch.ids = ids;
    return batch;
}

/* A tensor of a component, copied out as rows of float32. Models here are made with --layout rows
 * --dtype f32. */
static float *copy_tensor(sw_encoder *encoder, const char *component, const char *name,
                          uint64_t count)
{
    sw_component *leased = NULL;
    struct sw_tensor tensor = SW_INIT(struct sw_tensor);
    int number = sw_model_find(sw_encoder_model(encoder), component);
    cr_assert_geq(number, 0, "%s", component);
    cr_assert_eq(sw_component_acquire(sw_encoder_model(encoder), (uint32_t)number, &leased), 0);
    cr_assert_eq(sw_component_tensor(leased, name, &tensor), 0, "%s", name);
    cr_assert_eq(tensor.dtype, SW_DTYPE_F32);
    cr_assert_eq(tensor.bytes, count * sizeof(float), "%s", name);
    float *copy = malloc(tensor.bytes);
    memcpy(copy, tensor.data, tensor.bytes);
    cr_assert_eq(sw_component_release(leased), 0);
    return copy;
}

static double dot(const float *a, const double *b, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

#define SMALL "--vocab-size", "901", "--layout", "rows", "--dtype", "f32"

Test(heads, classify_as_the_definition_says, .timeout = 60)
{
    serve(SUP_ARGS(SMALL, "--labels", "3"));
    sw_encoder *encoder = open_model();
    struct sw_encoder_batch batch = batch_of();
    float pooled[SEQUENCES * HIDDEN], logits[SEQUENCES * LABELS], scores[SEQUENCES * LABELS];
    struct sw_encoder_output output = SW_INIT(struct sw_encoder_output);
    output.pooler_output = pooled;
    cr_assert_eq(sw_encoder_forward(encoder, &batch, &output), 0);
    cr_assert_eq(sw_encoder_classify(encoder, &batch, logits, scores), 0);
    struct sw_classes classes = SW_INIT(struct sw_classes);
    cr_assert_eq(sw_encoder_get_classes(encoder, &classes), 0);
    cr_assert_eq(classes.count, LABELS);
    cr_assert_eq(classes.problem, SW_PROBLEM_SINGLE_LABEL);
    cr_assert_str_eq(classes.names[2], "LABEL_2");
    float *weight = copy_tensor(encoder, "head", "classifier.weight", LABELS * HIDDEN);
    float *bias = copy_tensor(encoder, "head", "classifier.bias", LABELS);
    for (int s = 0; s < SEQUENCES; s++) {
        double x[HIDDEN], sum = 0, total = 0;
        for (int i = 0; i < HIDDEN; i++)
            x[i] = (double)pooled[s * HIDDEN + i];
        for (int i = 0; i < LABELS; i++) {
            double want = dot(weight + i * HIDDEN, x, HIDDEN) + (double)bias[i];
            cr_assert_lt(fabs(want - (double)logits[s * LABELS + i]), 1e-5);
            sum += exp(want);
        }
        for (int i = 0; i < LABELS; i++) {
            double want = exp((double)logits[s * LABELS + i]) / sum;
            cr_assert_lt(fabs(want - (double)scores[s * LABELS + i]), 1e-5);
            total += (double)scores[s * LABELS + i];
        }
        cr_assert_lt(fabs(total - 1), 1e-5);
    }
    free(weight);
    free(bias);
    float untouched = 42;
    const uint32_t token = 0;
    cr_assert_eq(sw_encoder_fill(encoder, &batch, &token, 1, &untouched), SW_ENOCOMPONENT);
    cr_assert(untouched == 42.0f);
    finish(encoder);
}

/* LayerNorm(gelu(W·x + b)) of one token, in double. */
static void transformed(sw_encoder *encoder, const float *state, double out[HIDDEN])
{
    static const char prefix[] = "cls.predictions.transform.";
    float *weight =
        copy_tensor(encoder, "head", sup_format("%sdense.weight", prefix), HIDDEN * HIDDEN);
    float *bias = copy_tensor(encoder, "head", sup_format("%sdense.bias", prefix), HIDDEN);
    float *gamma = copy_tensor(encoder, "head", sup_format("%sLayerNorm.weight", prefix), HIDDEN);
    float *beta = copy_tensor(encoder, "head", sup_format("%sLayerNorm.bias", prefix), HIDDEN);
    double x[HIDDEN], mean = 0, variance = 0;
    for (int i = 0; i < HIDDEN; i++)
        x[i] = (double)state[i];
    for (int i = 0; i < HIDDEN; i++) {
        double y = dot(weight + i * HIDDEN, x, HIDDEN) + (double)bias[i];
        out[i] = y / 2 * (1 + erf(y / sqrt(2)));
        mean += out[i] / HIDDEN;
    }
    for (int i = 0; i < HIDDEN; i++)
        variance += (out[i] - mean) * (out[i] - mean) / HIDDEN;
    for (int i = 0; i < HIDDEN; i++)
        out[i] = (out[i] - mean) / sqrt(variance + 1e-12) * (double)gamma[i] + (double)beta[i];
    free(weight);
    free(bias);
    free(gamma);
    free(beta);
}

Test(heads, fill_with_the_tied_word_table, .timeout = 60)
{
    serve(SUP_ARGS(SMALL, "--mlm"));
    sw_encoder *encoder = open_model();
    struct sw_encoder_batch batch = batch_of();
    static float hidden[TOKENS * HIDDEN], logits[2 * VOCAB];
    struct sw_encoder_output output = SW_INIT(struct sw_encoder_output);
    output.last_hidden_state = hidden;
    cr_assert_eq(sw_encoder_forward(encoder, &batch, &output), 0);
    const uint32_t tokens[2] = {8, 2};
    cr_assert_eq(sw_encoder_fill(encoder, &batch, tokens, 2, logits), 0);
    float *words = copy_tensor(encoder, "embeddings", "word_embeddings.weight", VOCAB * HIDDEN);
    float *bias = copy_tensor(encoder, "head", "cls.predictions.bias", VOCAB);
    for (int n = 0; n < 2; n++) {
        double x[HIDDEN];
        transformed(encoder, hidden + tokens[n] * HIDDEN, x);
        for (int word = 0; word < VOCAB; word++) {
            double want = dot(words + word * HIDDEN, x, HIDDEN) + (double)bias[word];
            cr_assert_lt(fabs(want - (double)logits[n * VOCAB + word]), 2e-5, "word %d", word);
        }
    }
    free(words);
    free(bias);
    const uint32_t outside[2] = {0, TOKENS};
    cr_assert_eq(sw_encoder_fill(encoder, &batch, outside, 2, logits), -EINVAL);
    cr_assert_eq(sw_encoder_classify(encoder, &batch, logits, NULL), SW_ENOCOMPONENT);
    finish(encoder);
}

/* The word table of this one is cut into blocks: over 16 MiB in f32. Tied words must come out the same as
 * from the layout that has the panels. */
Test(heads, fill_across_blocks_of_words_in_any_layout, .timeout = 60)
{
    static const char *const layouts[2] = {"rows", "panel"};
    static float logits[2][40000];
    for (int i = 0; i < 2; i++) {
        sup_remove_tree(sup_path("catalog"));
        serve(SUP_ARGS("--vocab-size", "40000", "--dtype", "f32", "--layout", layouts[i], "--mlm"));
        sw_encoder *encoder = open_model();
        cr_assert_geq(sw_model_find(sw_encoder_model(encoder), "embeddings_words_1"), 0);
        struct sw_encoder_batch batch = batch_of();
        const uint32_t token = 5;
        cr_assert_eq(sw_encoder_fill(encoder, &batch, &token, 1, logits[i]), 0);
        finish(encoder);
    }
    for (int word = 0; word < 40000; word++)
        cr_assert(logits[0][word] == logits[1][word], "word %d", word);
}

Test(heads, a_model_without_one_says_so, .timeout = 60)
{
    serve(SUP_ARGS(SMALL));
    sw_encoder *encoder = open_model();
    struct sw_encoder_batch batch = batch_of();
    struct sw_classes classes = SW_INIT(struct sw_classes);
    float logits[SEQUENCES * LABELS];
    char message[256];
    cr_assert_eq(sw_encoder_get_classes(encoder, &classes), SW_ENOCOMPONENT);
    cr_assert_eq(sw_encoder_classify(encoder, &batch, logits, NULL), SW_ENOCOMPONENT);
    cr_assert_eq(sw_encoder_message(encoder, message, sizeof message), SW_ENOCOMPONENT);
    cr_assert(strstr(message, "no head"), "%s", message);
    finish(encoder);
}
