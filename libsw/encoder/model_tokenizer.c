/* SPDX-License-Identifier: MIT */
/* From a model's files to its tokenizer.
 *
 * tokenizer.json repeats the whole vocabulary as JSON, which takes some 20 ms to parse; vocab.txt
 * takes 2. A worker's first result should not wait for it, so it is read only where vocab.txt and
 * tokenizer_config.json do not say everything between them.
 */
#include "encoder/model_tokenizer.h"

#include <jansson.h>
#include <stdlib.h>

#include "core/json.h"

struct file {
    const char *name; /* in the Transformer's folder */
    void *data;       /* NULL: the model has no such file */
    size_t size;
};

static int read_file(const struct swi_files *files, const struct swi_description *description,
                     struct file *file, struct swi_error *error)
{
    char path[SWI_MODEL_PATH];
    swi_description_path(description, file->name, path);
    return swi_files_read(files, path, &file->data, &file->size, error);
}

/* True when a tokenizer_config.json names the casing and all the added tokens, so that
 * tokenizer.json has nothing to add. A transformers older than 4.34 kept added tokens in
 * added_tokens.json. */
static bool says_it_all(const struct file *config, const struct file *added_tokens)
{
    json_t *document = NULL;
    struct swi_error ignored;
    if (!config->data ||
        swi_json_read(config->name, config->data, config->size, NULL, &document, &ignored) < 0)
        return false;
    bool casing = json_is_boolean(json_object_get(document, "do_lower_case"));
    bool added = json_is_object(json_object_get(document, "added_tokens_decoder"));
    json_decref(document);
    return casing && (added || !added_tokens->data);
}

static int create(const struct file *vocab, const struct file *config, const struct file *tokenizer,
                  bool lower_case, sw_tokenizer **ret, struct swi_error *error)
{
    struct sw_tokenizer_files files = SW_INIT(struct sw_tokenizer_files);
    files.vocab = vocab->data;
    files.vocab_size = vocab->size;
    files.tokenizer_config = config->data;
    files.tokenizer_config_size = config->size;
    files.tokenizer = tokenizer->data;
    files.tokenizer_size = tokenizer->size;
    files.lower_case = lower_case;
    char message[SWI_ERROR_TEXT] = "";
    int result = sw_tokenizer_create(&files, message, sizeof message, ret);
    return result < 0 ? swi_fail(error, result, "%s", message) : 0;
}

int swi_model_tokenizer(const struct swi_files *files, const struct swi_description *description,
                        sw_tokenizer **ret, struct swi_error *error)
{
    struct file vocab = {.name = "vocab.txt"}, config = {.name = "tokenizer_config.json"};
    struct file tokenizer = {.name = "tokenizer.json"}, added = {.name = "added_tokens.json"};
    int result = read_file(files, description, &vocab, error);
    if (result == 0)
        result = read_file(files, description, &config, error);
    if (result == 0)
        result = read_file(files, description, &added, error);
    if (result == 0 && (!vocab.data || !says_it_all(&config, &added)))
        result = read_file(files, description, &tokenizer, error);
    if (result == 0 && !vocab.data && !tokenizer.data)
        result = swi_fail(error, SW_ENOCOMPONENT,
                          "the model has neither vocab.txt nor tokenizer.json: give it ids, or "
                          "import it again from a directory that has one");
    if (result == 0)
        result = create(&vocab, &config, &tokenizer, description->lower_case, ret, error);
    free(vocab.data);
    free(config.data);
    free(added.data);
    free(tokenizer.data);
    return result;
}
