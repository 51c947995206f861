/* SPDX-License-Identifier: MIT */
/* From files to a description. Formats: sentence_transformers 6.2, base/model.py and
 * base/modules/transformer.py. */
#include "encoder/description.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"

#define TOKENS_MIN 2u /* the special tokens around a text */

void swi_description_path(const struct swi_description *description, const char *file, char *ret)
{
    (void)snprintf(ret, SWI_MODEL_PATH, "%s%.60s", description->modules.folder, file);
}

/* ---- config.json ----------------------------------------------------------------------------- */

static int read_config(const struct swi_files *files, struct swi_description *d,
                       struct swi_error *error)
{
    char path[SWI_MODEL_PATH];
    json_t *root;
    swi_description_path(d, SWI_CONFIG_FILE, path);
    int result = swi_files_read_object(files, path, &root, error);
    if (result == 0 && !root)
        result = swi_fail(error, SW_EFORMAT, "%s is missing", path);
    if (result == 0)
        result = swi_encoder_config_take(root, &d->config, error);
    if (result == 0)
        result = swi_labels_parse(root, d->config.labels, &d->labels, error);
    json_decref(root);
    return result;
}

int swi_description_check_classifier(const struct swi_description *description,
                                     struct swi_error *error)
{
    static const struct {
        const char *suffix, *what;
    } others[] = {
        {"ForTokenClassification", "labels tokens, not texts"},
        {"ForMultipleChoice", "chooses among texts"},
        {"ForQuestionAnswering", "marks spans of a text"},
    };
    const char *name = description->config.architecture;
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        size_t tail = strlen(others[i].suffix);
        if (length >= tail && strcmp(name + length - tail, others[i].suffix) == 0)
            return swi_fail(error, SW_EUNSUPPORTED,
                            "the model is a %s, which %s; that is not supported", name,
                            others[i].what);
    }
    return 0;
}

/* ---- token limit and casing ------------------------------------------------------------------ */

/* model_max_length is 10^30 where an export means "no limit". Lowers *limit. */
static void lower_limit(const json_t *object, uint32_t *limit)
{
    double length = json_number_value(json_object_get(object, "model_max_length"));
    if (length >= TOKENS_MIN && length < *limit)
        *limit = (uint32_t)length;
}

static int refuse_key(const char *file, const char *key, struct swi_error *error)
{
    return swi_fail(error, SW_EUNSUPPORTED, "%s: %s is not supported", file, key);
}

/* Arguments of transformers' loaders under either of two names: harmless ones pass. */
static int check_arguments(const json_t *root, const char *file, const char *const names[2],
                           const char *const *harmless, struct swi_error *error)
{
    for (size_t n = 0; n < 2; n++) {
        json_t *arguments = json_object_get(root, names[n]), *value;
        const char *key;
        json_object_foreach(arguments, key, value)
        {
            const char *const *known = harmless;
            while (*known && strcmp(*known, key) != 0)
                known++;
            if (!*known) {
                char text[128];
                (void)snprintf(text, sizeof text, "%s: \"%.60s\"", names[n], key);
                return refuse_key(file, text, error);
            }
        }
    }
    return 0;
}

static int check_all_arguments(const json_t *root, const char *file, struct swi_error *error)
{
    static const char *const names[3][2] = {{"model_args", "model_kwargs"},
                                            {"tokenizer_args", "processor_kwargs"},
                                            {"config_args", "config_kwargs"}};
    static const char *const model[] = {"torch_dtype",         "dtype",
                                        "attn_implementation", "trust_remote_code",
                                        "add_pooling_layer",   NULL};
    static const char *const tokenizer[] = {"model_max_length", "trust_remote_code", "use_fast",
                                            "padding_side", NULL};
    static const char *const config[] = {"trust_remote_code", NULL};
    static const char *const *const harmless[] = {model, tokenizer, config};
    int result = 0;
    for (size_t i = 0; i < 3 && result == 0; i++)
        result = check_arguments(root, file, names[i], harmless[i], error);
    return result;
}

/* What sentence-transformers since 5.4 saves about the Transformer's input and output. */
static int check_task(const json_t *root, const char *file, struct swi_error *error)
{
    static const char *const knobs[] = {"processing_kwargs", "query_length", "document_length",
                                        "query_expansion"};
    const char *task = json_string_value(json_object_get(root, "transformer_task"));
    const char *output = json_string_value(json_object_get(root, "module_output_name"));
    const json_t *text = json_object_get(json_object_get(root, "modality_config"), "text");
    const char *method = json_string_value(json_object_get(text, "method_output_name"));
    bool classifies = task && strcmp(task, "sequence-classification") == 0;
    if (task && !classifies && strcmp(task, "feature-extraction") != 0)
        return swi_fail(error, SW_EUNSUPPORTED,
                        "%s: transformer_task \"%.60s\" is not supported; feature-extraction and "
                        "sequence-classification are",
                        file, task);
    if (output && !classifies && strcmp(output, "token_embeddings") != 0)
        return swi_fail(
            error, SW_EUNSUPPORTED,
            "%s: module_output_name \"%.60s\" is not supported; \"token_embeddings\" is", file,
            output);
    if (method && !classifies && strcmp(method, "last_hidden_state") != 0)
        return swi_fail(error, SW_EUNSUPPORTED,
                        "%s: method_output_name \"%.60s\" is not supported; \"last_hidden_state\" "
                        "is",
                        file, method);
    for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++)
        if (swi_json_truth(json_object_get(root, knobs[i])))
            return refuse_key(file, knobs[i], error);
    return check_all_arguments(root, file, error);
}

/* The first of the names under which this file has been saved; *ret_path says which. */
static int find_sentence_config(const struct swi_files *files, const struct swi_description *d,
                                json_t **ret, char *ret_path, struct swi_error *error)
{
    static const char *const names[] = {
        "sentence_bert_config.json",       "sentence_roberta_config.json",
        "sentence_distilbert_config.json", "sentence_camembert_config.json",
        "sentence_albert_config.json",     "sentence_xlm-roberta_config.json",
        "sentence_xlnet_config.json"};
    size_t count = d->modules.listed ? sizeof names / sizeof names[0] : 1;
    int result = 0;
    *ret = NULL;
    for (size_t i = 0; i < count && result == 0 && !*ret; i++) {
        swi_description_path(d, names[i], ret_path);
        result = swi_files_read_object(files, ret_path, ret, error);
    }
    return result;
}

/* max_seq_length overrides the tokenizer's model_max_length; nothing overrides the position table. */
static int read_limits(const struct swi_files *files, struct swi_description *d,
                       struct swi_error *error)
{
    char path[SWI_MODEL_PATH];
    json_t *sentence, *tokenizer = NULL;
    uint32_t limit = 0;
    d->max_tokens = d->config.positions;
    int result = find_sentence_config(files, d, &sentence, path, error);
    if (result == 0 && sentence) {
        result = check_task(sentence, path, error);
        if (result == 0)
            result = swi_json_get_uint(sentence, path, "max_seq_length", TOKENS_MIN, INT32_MAX,
                                       &limit, error);
        d->lower_case = swi_json_truth(json_object_get(sentence, "do_lower_case"));
        uint32_t argument = UINT32_MAX;
        lower_limit(json_object_get(sentence, "tokenizer_args"), &argument);
        lower_limit(json_object_get(sentence, "processor_kwargs"), &argument);
        limit = argument < UINT32_MAX ? argument : limit;
    }
    if (result == 0 && limit == 0) {
        swi_description_path(d, "tokenizer_config.json", path);
        result = swi_files_read_object(files, path, &tokenizer, error);
        lower_limit(tokenizer, &d->max_tokens);
    }
    if (limit && limit < d->max_tokens)
        d->max_tokens = limit;
    json_decref(sentence);
    json_decref(tokenizer);
    return result;
}

/* ---- config_sentence_transformers.json ------------------------------------------------------- */

static int add_prompt(struct swi_description *d, const char *name, const char *text,
                      struct swi_error *error)
{
    struct swi_prompt *prompt = &d->prompts[d->prompt_count++];
    prompt->name = strdup(name);
    prompt->text = strdup(text);
    return prompt->name && prompt->text ? 0 : swi_fail(error, -ENOMEM, "out of memory");
}

/* The names "query" and "document" always exist, and stand for nothing where no text is given. */
static int read_prompts(json_t *root, struct swi_description *d, struct swi_error *error)
{
    static const char *const always[] = {"query", "document"};
    json_t *map = json_object_get(root, "prompts"), *value;
    const char *name;
    int result = 0;
    d->prompts = calloc(json_object_size(map) + 2, sizeof *d->prompts);
    if (!d->prompts)
        return swi_fail(error, -ENOMEM, "out of memory");
    json_object_foreach(map, name, value)
    {
        const char *text = json_is_null(value) ? "" : json_string_value(value);
        if (!text)
            return swi_fail(error, SW_EFORMAT,
                            SWI_SENTENCE_FILE ": prompt \"%.60s\" must be a string", name);
        result = add_prompt(d, name, text, error);
        if (result < 0)
            return result;
    }
    for (size_t i = 0; i < 2 && result == 0; i++)
        if (!swi_description_prompt(d, always[i]))
            result = add_prompt(d, always[i], "", error);
    const char *chosen = json_string_value(json_object_get(root, "default_prompt_name"));
    d->default_prompt = chosen ? swi_description_prompt(d, chosen) : "";
    if (result == 0 && !d->default_prompt)
        result = swi_fail(
            error, SW_EFORMAT,
            SWI_SENTENCE_FILE ": default_prompt_name \"%.60s\" is not one of its prompts", chosen);
    return result;
}

static void read_similarity(const json_t *root, struct swi_description *d)
{
    static const char *const known[] = {"cosine", "dot", "euclidean", "manhattan"};
    const char *name = json_string_value(json_object_get(root, "similarity_fn_name"));
    (void)snprintf(d->similarity, sizeof d->similarity, "%s", known[0]);
    for (size_t i = 0; name && i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i]) == 0)
            (void)snprintf(d->similarity, sizeof d->similarity, "%s", known[i]);
}

static int read_sentence(const struct swi_files *files, struct swi_description *d,
                         struct swi_error *error)
{
    static const char *const kinds[] = {"SentenceTransformer", "CrossEncoder"};
    json_t *root = NULL;
    int result = swi_files_read_object(files, SWI_SENTENCE_FILE, &root, error);
    const char *kind = json_string_value(json_object_get(root, "model_type"));
    if (result == 0 && kind && strcmp(kind, kinds[0]) != 0 && strcmp(kind, kinds[1]) != 0)
        result =
            swi_fail(error, SW_EUNSUPPORTED,
                     SWI_SENTENCE_FILE ": model_type \"%.60s\" is not supported; %s and %s are",
                     kind, kinds[0], kinds[1]);
    if (result == 0)
        result = read_prompts(root, d, error);
    read_similarity(root, d);
    uint32_t dimension = d->embedding_size;
    if (result == 0)
        result = swi_json_get_uint(root, SWI_SENTENCE_FILE, "truncate_dim", 1, SWI_CONFIG_DIM_MAX,
                                   &dimension, error);
    d->truncated = dimension < d->embedding_size;
    if (d->truncated)
        d->embedding_size = dimension;
    json_decref(root);
    return result;
}

/* ---- the whole ------------------------------------------------------------------------------- */

int swi_description_read(const struct swi_files *files, struct swi_description *ret,
                         struct swi_error *error)
{
    struct swi_description d = {0};
    int result = swi_modules_list(files, &d.modules, error);
    if (result == 0)
        result = read_config(files, &d, error);
    if (result == 0)
        result = swi_modules_read(files, d.config.hidden, &d.modules, error);
    if (result == 0) {
        d.embedding_size = swi_modules_width(&d.modules, d.config.hidden);
        for (uint32_t i = 0; i < d.modules.count; i++)
            if (d.modules.after[i].in > d.config.widest)
                d.config.widest = d.modules.after[i].in;
        result = read_limits(files, &d, error);
    }
    if (result == 0)
        result = read_sentence(files, &d, error);
    if (result < 0) {
        swi_description_fini(&d);
        return result;
    }
    *ret = d;
    return 0;
}

void swi_description_fini(struct swi_description *description)
{
    for (size_t i = 0; i < description->prompt_count; i++) {
        free(description->prompts[i].name);
        free(description->prompts[i].text);
    }
    free(description->prompts);
    swi_labels_fini(&description->labels);
    *description = (struct swi_description){0};
}

const char *swi_description_prompt(const struct swi_description *description, const char *name)
{
    for (size_t i = 0; i < description->prompt_count; i++)
        if (strcmp(description->prompts[i].name, name) == 0)
            return description->prompts[i].text;
    return NULL;
}
