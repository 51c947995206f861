/* SPDX-License-Identifier: MIT */
/* From a model's files to its tokenizer.
 *
 * Where there is a tokenizer.json, vocab.txt is not read.
 */
#include "encoder/model_tokenizer.h"

#include <stdlib.h>

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

enum { VOCAB, CONFIG, TOKENIZER, MAP, ADDED, FILES };

static int create(const struct file file[FILES], bool lower_case, sw_tokenizer **ret,
                  struct swi_error *error)
{
    struct sw_tokenizer_files files = SW_INIT(struct sw_tokenizer_files);
    files.vocab = file[VOCAB].data;
    files.vocab_size = file[VOCAB].size;
    files.tokenizer_config = file[CONFIG].data;
    files.tokenizer_config_size = file[CONFIG].size;
    files.tokenizer = file[TOKENIZER].data;
    files.tokenizer_size = file[TOKENIZER].size;
    files.special_tokens_map = file[MAP].data;
    files.special_tokens_map_size = file[MAP].size;
    files.added_tokens = file[ADDED].data;
    files.added_tokens_size = file[ADDED].size;
    files.lower_case = lower_case;
    char message[SWI_ERROR_TEXT] = "";
    int result = sw_tokenizer_create(&files, message, sizeof message, ret);
    return result < 0 ? swi_fail(error, result, "%s", message) : 0;
}

/* tokenizer.json has all that vocab.txt has. */
static bool is_needed(const struct file file[FILES], int number)
{
    return number != VOCAB || !file[TOKENIZER].data;
}

int swi_model_tokenizer(const struct swi_files *files, const struct swi_description *description,
                        sw_tokenizer **ret, struct swi_error *error)
{
    struct file file[FILES] = {[VOCAB] = {.name = "vocab.txt"},
                               [CONFIG] = {.name = "tokenizer_config.json"},
                               [TOKENIZER] = {.name = "tokenizer.json"},
                               [MAP] = {.name = "special_tokens_map.json"},
                               [ADDED] = {.name = "added_tokens.json"}};
    int result = 0;
    for (int i = FILES; i-- > 0 && result == 0;)
        if (is_needed(file, i))
            result = read_file(files, description, &file[i], error);
    if (result == 0 && !file[VOCAB].data && !file[TOKENIZER].data)
        result = swi_fail(error, SW_ENOCOMPONENT,
                          "the model has neither vocab.txt nor tokenizer.json: pass ids, or import "
                          "it again from a directory that has one");
    if (result == 0)
        result = create(file, description->lower_case, ret, error);
    for (int i = 0; i < FILES; i++)
        free(file[i].data);
    return result;
}
