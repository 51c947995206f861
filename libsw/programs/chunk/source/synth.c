/* SPDX-License-Identifier: MIT */
/* The generator as a source: seeded weights (synth_random.h), a config, and a vocabulary that real
 * text can be cut with. The same shape and seed give the same bytes everywhere. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "programs/chunk/files.h"
#include "programs/chunk/source/kinds.h"
#include "programs/chunk/source/synth_random.h"
#include "programs/chunk/source/synth_vocabulary.h"

struct synth_source {
    struct source base;
    struct synth_options options;
};

static int synth_read(struct source *base, const struct source_tensor *tensor, uint64_t first,
                      uint64_t count, float *out, struct swi_error *error)
{
    (void)error;
    const struct synth_source *source = (const struct synth_source *)base;
    struct synth_stream stream = synth_stream_of(source->options.seed, tensor->name,
                                                 tensor->rank == 1 ? 0 : tensor->shape[1]);
    synth_fill(&stream, first, count, out);
    return 0;
}

static void synth_close(struct source *base)
{
    source_fini(base);
    free(base);
}

/* ---- the files beside the weights ------------------------------------------------------------ */

/* Takes over `root`. */
static int create_json(int directory, const char *name, json_t *root, struct swi_error *error)
{
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (!text)
        return swi_fail(error, -ENOMEM, "out of memory");
    int result = files_create(directory, name, text, strlen(text), error);
    free(text);
    return result;
}

static json_t *config_of(const struct synth_options *options)
{
    const struct swi_encoder_config *config = &options->config;
    const struct model_features *features = &options->features;
    const char *architecture = features->mlm      ? "BertForMaskedLM"
                               : features->labels ? "BertForSequenceClassification"
                                                  : "BertModel";
    json_t *root = json_pack(
        "{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:f, s:s, s:i}", "architectures",
        architecture, "model_type", "bert", "num_hidden_layers", (int)config->layers, "hidden_size",
        (int)config->hidden, "num_attention_heads", (int)config->heads, "intermediate_size",
        (int)config->intermediate, "vocab_size", (int)config->vocab, "max_position_embeddings",
        (int)config->positions, "type_vocab_size", (int)config->types, "hidden_act", "gelu",
        "layer_norm_eps", 1e-12, "position_embedding_type", "absolute", "pad_token_id", 0);
    if (root && features->labels) {
        json_t *labels = json_object();
        for (uint32_t i = 0; i < features->labels; i++) {
            char key[16], value[24];
            (void)snprintf(key, sizeof key, "%u", i);
            (void)snprintf(value, sizeof value, "LABEL_%u", i);
            (void)json_object_set_new(labels, key, json_string(value));
        }
        (void)json_object_set_new(root, "id2label", labels);
    }
    return root;
}

static int create_pooling(int directory, uint32_t hidden, struct swi_error *error)
{
    if (mkdirat(directory, "1_Pooling", 0777) < 0)
        return swi_fail(error, -errno, "1_Pooling: %s", strerrordesc_np(errno));
    return create_json(directory, "1_Pooling/config.json",
                       json_pack("{s:i, s:b, s:b, s:b, s:b}", "word_embedding_dimension",
                                 (int)hidden, "pooling_mode_cls_token", 0,
                                 "pooling_mode_mean_tokens", 1, "pooling_mode_max_tokens", 0,
                                 "pooling_mode_mean_sqrt_len_tokens", 0),
                       error);
}

static int synth_copy_files(struct source *base, int directory, const char *out,
                            struct swi_error *error)
{
    const struct synth_source *source = (const struct synth_source *)base;
    const struct swi_encoder_config *config = &base->description.config;
    int result = create_json(directory, SWI_CONFIG_FILE, config_of(&source->options), error);
    if (result == 0)
        result = create_json(directory, "tokenizer_config.json",
                             json_pack("{s:b, s:i, s:s}", "do_lower_case", 1, "model_max_length",
                                       (int)config->positions, "tokenizer_class", "BertTokenizer"),
                             error);
    if (result == 0 && source->options.mean_pooling)
        result = create_pooling(directory, config->hidden, error);
    char *text = NULL;
    size_t size = 0;
    if (result == 0 && synth_vocabulary(config->vocab, &text, &size) < 0)
        result = swi_fail(error, -ENOMEM, "out of memory");
    if (result == 0)
        result = files_create(directory, "vocab.txt", text, size, error);
    free(text);
    return result < 0 ? swi_fail_within(error, result, "%s: ", out) : 0;
}

static const struct source_ops synth_ops = {
    .read = synth_read, .copy_files = synth_copy_files, .close = synth_close};

/* ---- opening --------------------------------------------------------------------------------- */

/* Every tensor that a checkpoint of this shape has. */
static int add_all(struct synth_source *source, struct swi_error *error)
{
    struct plan plan;
    struct chunk_format format = {.layout = SW_LAYOUT_ROWS, .dtype = SW_DTYPE_F32, .whole = true};
    int result =
        plan_make(&source->options.config, &source->options.features, format, &plan, error);
    if (result < 0)
        return result;
    for (size_t i = 0; i < plan.count && result == 0; i++)
        for (size_t j = 0; j < plan.chunks[i].count && result == 0; j++) {
            const struct plan_tensor *planned = &plan.chunks[i].tensors[j];
            struct source_tensor tensor = {
                .dtype = SW_DTYPE_F32, .rank = planned->rank, .shape = {planned->n, planned->k}};
            result = source_add(&source->base, &tensor, planned->parts[0].name, error);
        }
    plan_fini(&plan);
    return result;
}

int source_synth_open(const struct synth_options *options, struct source **ret,
                      struct swi_error *error)
{
    int result = swi_encoder_config_check(&options->config, error);
    if (result < 0)
        return result;
    if (options->config.vocab < SYNTH_VOCABULARY_LEAST)
        return swi_fail(error, -EINVAL,
                        "\"vocab_size\" must be at least %u, for the special tokens",
                        SYNTH_VOCABULARY_LEAST);
    struct synth_source *source = calloc(1, sizeof *source);
    if (!source)
        return swi_fail(error, -ENOMEM, "out of memory");
    source->base.ops = &synth_ops;
    source->base.directory = -1;
    source->base.description.config = options->config;
    source->base.description.labels.count = options->features.labels;
    source->options = *options;
    result = add_all(source, error);
    if (result == 0)
        result = source_settle(&source->base, error);
    if (result < 0) {
        synth_close(&source->base);
        return result;
    }
    *ret = &source->base;
    return 0;
}
