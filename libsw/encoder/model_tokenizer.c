/* SPDX-License-Identifier: MIT */
/* From a model's files to its tokenizer.
 *
 * tokenizer.json repeats the whole vocabulary as JSON, which takes some 20 ms to parse; vocab.txt
 * takes
 * 2. A worker's first result should not wait for it, so it is read only where vocab.txt and
 * tokenizer_config.json do not say everything between them.
 */
#include <jansson.h>
#include <stdlib.h>

#include "encoder/handle.h"

struct file {
    const char *path; /* in the model's directory */
    void *data;       /* NULL: the model has no such file */
    size_t size;
};

static int read_file(sw_encoder *encoder, struct file *file)
{
    int result = sw_model_file(encoder->model, file->path, &file->data, &file->size);
    if (result == 0 || result == SW_ENOCOMPONENT)
        return 0;
    return swi_encoder_client_failure(encoder, result, file->path);
}

/* True when a tokenizer_config.json names the casing and all the added tokens, so that
 * tokenizer.json has nothing to add. A transformers older than 4.34 kept added tokens in
 * added_tokens.json. */
static bool says_it_all(const struct file *config, const struct file *added_tokens)
{
    if (!config->data)
        return false;
    json_t *document = json_loadb(config->data, config->size, JSON_DECODE_INT_AS_REAL, NULL);
    bool casing = json_is_boolean(json_object_get(document, "do_lower_case"));
    bool added = json_is_object(json_object_get(document, "added_tokens_decoder"));
    json_decref(document);
    return casing && (added || !added_tokens->data);
}

static int create(sw_encoder *encoder, const struct file *vocab, const struct file *config,
                  const struct file *tokenizer)
{
    struct sw_tokenizer_files files = SW_INIT(struct sw_tokenizer_files);
    files.vocab = vocab->data;
    files.vocab_size = vocab->size;
    files.tokenizer_config = config->data;
    files.tokenizer_config_size = config->size;
    files.tokenizer = tokenizer->data;
    files.tokenizer_size = tokenizer->size;
    char message[SWI_ERROR_TEXT] = "";
    sw_tokenizer *made = NULL;
    int result = sw_tokenizer_create(&files, message, sizeof message, &made);
    swi_encoder_note(encoder);
    encoder->tokenizer = made;
    swi_encoder_noted(encoder);
    return result < 0 ? swi_fail(&encoder->error, result, "%s", message) : 0;
}

/* Inside swi_encoder_enter. */
static int make_tokenizer(sw_encoder *encoder)
{
    struct file vocab = {.path = "vocab.txt"}, config = {.path = "tokenizer_config.json"};
    struct file tokenizer = {.path = "tokenizer.json"}, added = {.path = "added_tokens.json"};
    int result = read_file(encoder, &vocab);
    if (result == 0)
        result = read_file(encoder, &config);
    if (result == 0)
        result = read_file(encoder, &added);
    if (result == 0 && (!vocab.data || !says_it_all(&config, &added)))
        result = read_file(encoder, &tokenizer);
    if (result == 0 && !vocab.data && !tokenizer.data)
        result = swi_fail(&encoder->error, SW_ENOCOMPONENT,
                          "the model has neither vocab.txt nor tokenizer.json: give it ids, or "
                          "import it again from a directory that has one");
    if (result == 0)
        result = create(encoder, &vocab, &config, &tokenizer);
    free(vocab.data);
    free(config.data);
    free(added.data);
    free(tokenizer.data);
    return result;
}

int sw_encoder_tokenizer(sw_encoder *encoder, const sw_tokenizer **ret_tokenizer)
{
    swi_encoder_note(encoder);
    const sw_tokenizer *tokenizer = encoder->tokenizer;
    swi_encoder_noted(encoder);
    if (!tokenizer) {
        int result = swi_encoder_enter_quickly(encoder);
        if (result == 0)
            result =
                swi_encoder_leave(encoder, encoder->tokenizer ? 0 : make_tokenizer(encoder), NULL);
        if (result < 0)
            return result;
        tokenizer = encoder->tokenizer;
    }
    *ret_tokenizer = tokenizer;
    return 0;
}
