/* SPDX-License-Identifier: MIT */
/* Reading modules.json and the modules' own configs. */
#include "encoder/modules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/manifest.h"

#define CLASS_PREFIX "sentence_transformers."

/* ---- pooling --------------------------------------------------------------------------------- */

/* In the order in which sentence-transformers concatenates what several booleans ask for. */
static const struct {
    const char *name, *boolean;
    enum sw_pooling kind;
} poolings[] = {
    {"cls", "pooling_mode_cls_token", SW_POOLING_CLS},
    {"max", "pooling_mode_max_tokens", SW_POOLING_MAX},
    {"mean", "pooling_mode_mean_tokens", SW_POOLING_MEAN},
    {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", SW_POOLING_MEAN_SQRT_LEN},
    {"weightedmean", "pooling_mode_weightedmean_tokens", SW_POOLING_WEIGHTED_MEAN},
    {"lasttoken", "pooling_mode_lasttoken", SW_POOLING_LAST_TOKEN},
};
enum { POOLINGS = sizeof poolings / sizeof poolings[0] };

static int add_kind(struct swi_pooling *pooling, const char *file, const json_t *name,
                    struct swi_error *error)
{
    const char *text = json_string_value(name);
    for (size_t i = 0; text && i < POOLINGS; i++) {
        if (strcmp(text, poolings[i].name) != 0)
            continue;
        if (pooling->count == SWI_POOLING_KINDS_MAX)
            return swi_fail(error, SW_EUNSUPPORTED, "%s: more than %u kinds of pooling", file,
                            SWI_POOLING_KINDS_MAX);
        pooling->kinds[pooling->count++] = poolings[i].kind;
        return 0;
    }
    return swi_fail(error, SW_EUNSUPPORTED,
                    "%s: pooling_mode \"%.60s\" is not supported; cls, max, mean, "
                    "mean_sqrt_len_tokens, weightedmean and lasttoken are",
                    file, text ? text : "(not a string)");
}

/* The string or list wins over the booleans; with neither there is mean pooling. */
static int parse_pooling(const char *file, const json_t *root, struct swi_pooling *ret,
                         struct swi_error *error)
{
    struct swi_pooling pooling = {0};
    const json_t *mode = json_object_get(root, "pooling_mode");
    int result = 0;
    if (json_is_array(mode)) {
        for (size_t i = 0; i < json_array_size(mode) && result == 0; i++)
            result = add_kind(&pooling, file, json_array_get(mode, i), error);
        if (result == 0 && pooling.count == 0)
            result = swi_fail(error, SW_EFORMAT, "%s: \"pooling_mode\" is empty", file);
    } else if (mode) {
        result = add_kind(&pooling, file, mode, error);
    }
    for (size_t i = 0; i < POOLINGS && !mode; i++)
        if (swi_json_truth(json_object_get(root, poolings[i].boolean)))
            pooling.kinds[pooling.count++] = poolings[i].kind;
    if (result == 0 && pooling.count == 0)
        pooling.kinds[pooling.count++] = SW_POOLING_MEAN;
    const json_t *include = json_object_get(root, "include_prompt");
    pooling.skip_prompt = include && !swi_json_truth(include);
    if (result == 0)
        *ret = pooling;
    return result;
}

/* required: modules.json lists it. */
static int read_pooling(const struct swi_files *files, const char *path, bool required,
                        struct swi_pooling *ret, struct swi_error *error)
{
    char file[SWI_MODULE_PATH + 16];
    json_t *root;
    (void)snprintf(file, sizeof file, "%sconfig.json", path);
    int result = swi_files_read_object(files, file, &root, error);
    if (result < 0)
        return result;
    if (root)
        result = parse_pooling(file, root, ret, error);
    else if (required)
        result = swi_fail(
            error, SW_EFORMAT,
            "%s is missing, but " SWI_MODULES_FILE " lists it; download the whole model", file);
    else
        *ret = (struct swi_pooling){.kinds = {SW_POOLING_MEAN}, .count = 1};
    json_decref(root);
    return result;
}

/* ---- Dense, LayerNorm, Normalize ------------------------------------------------------------- */

static int read_activation(const char *file, const json_t *root, struct swi_module *module,
                           struct swi_error *error)
{
    static const struct {
        const char *name;
        enum swi_dense_activation activation;
    } known[] = {
        {"Identity", SWI_DENSE_IDENTITY}, {"Tanh", SWI_DENSE_TANH},       {"ReLU", SWI_DENSE_RELU},
        {"GELU", SWI_DENSE_GELU},         {"Sigmoid", SWI_DENSE_SIGMOID}, {"SiLU", SWI_DENSE_SILU},
    };
    const json_t *value = json_object_get(root, "activation_function");
    const char *name = value ? json_string_value(value) : "torch.nn.modules.activation.Tanh";
    const char *class = name ? strrchr(name, '.') : NULL;
    for (size_t i = 0; class && i < sizeof known / sizeof known[0]; i++)
        if (strncmp(name, "torch.nn.", 9) == 0 && strcmp(class + 1, known[i].name) == 0) {
            module->activation = known[i].activation;
            return 0;
        }
    return swi_fail(error, SW_EUNSUPPORTED,
                    "%s: activation_function \"%.80s\" is not supported; torch.nn's Identity, "
                    "Tanh, ReLU, GELU, Sigmoid and SiLU are",
                    file, name ? name : "(not a string)");
}

/* A module that reads or writes anything but the sentence's vector. */
static int refuse_other_features(const char *file, const json_t *root, struct swi_error *error)
{
    static const char *const keys[] = {"module_input_name", "module_output_name"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_object_get(root, keys[i]);
        const char *name = json_string_value(value);
        if (value && !json_is_null(value) && !(name && strcmp(name, "sentence_embedding") == 0))
            return swi_fail(error, SW_EUNSUPPORTED,
                            "%s: %s \"%.60s\" is not supported; \"sentence_embedding\" is", file,
                            keys[i], name ? name : "(not a string)");
    }
    return 0;
}

static int read_dense(const char *file, const json_t *root, struct swi_module *module,
                      struct swi_error *error)
{
    uint32_t in = 0;
    module->out = 0;
    int result = swi_json_get_uint(root, file, "in_features", 1, SWI_CONFIG_DIM_MAX, &in, error);
    if (result == 0)
        result = swi_json_get_uint(root, file, "out_features", 1, SWI_CONFIG_DIM_MAX, &module->out,
                                   error);
    if (result == 0 && (!in || !module->out))
        result = swi_fail(error, SW_EFORMAT, "%s: \"%s\" is missing", file,
                          in ? "out_features" : "in_features");
    if (result == 0 && in != module->in)
        result = swi_fail(error, SW_EFORMAT,
                          "%s: in_features is %u, but the modules before it make vectors of %u",
                          file, in, module->in);
    const json_t *bias = json_object_get(root, "bias");
    module->bias = !bias || swi_json_truth(bias);
    module->residual = swi_json_truth(json_object_get(root, "use_residual"));
    return result == 0 ? read_activation(file, root, module, error) : result;
}

static int read_layer_norm(const char *file, const json_t *root, struct swi_module *module,
                           struct swi_error *error)
{
    uint32_t width = 0;
    int result = swi_json_get_uint(root, file, "dimension", 1, SWI_CONFIG_DIM_MAX, &width, error);
    if (result == 0 && width != module->in)
        result = swi_fail(error, SW_EFORMAT,
                          "%s: dimension is %u, but the modules before it make vectors of %u", file,
                          width, module->in);
    return result;
}

static int read_module(const struct swi_files *files, struct swi_module *module,
                       struct swi_error *error)
{
    char file[SWI_MODULE_PATH + 16];
    json_t *root;
    (void)snprintf(file, sizeof file, "%sconfig.json", module->path);
    int result = swi_files_read_object(files, file, &root, error);
    if (result < 0)
        return result;
    module->out = module->in;
    if (!root && module->kind != SWI_MODULE_NORMALIZE)
        return swi_fail(
            error, SW_EFORMAT,
            "%s is missing, but " SWI_MODULES_FILE " lists it; download the whole model", file);
    result = refuse_other_features(file, root, error);
    if (result == 0 && module->kind == SWI_MODULE_DENSE)
        result = read_dense(file, root, module, error);
    if (result == 0 && module->kind == SWI_MODULE_LAYER_NORM)
        result = read_layer_norm(file, root, module, error);
    json_decref(root);
    return result;
}

/* ---- modules.json ---------------------------------------------------------------------------- */

/* A folder inside the model's directory, "" for itself, with a slash at the end. */
static int take_path(const json_t *entry, char *ret, struct swi_error *error)
{
    const json_t *value = json_object_get(entry, "path");
    const char *path = json_string_value(value);
    if (!path || strlen(path) != json_string_length(value))
        return swi_fail(error, SW_EFORMAT, SWI_MODULES_FILE ": a module has no \"path\"");
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/')
        length--;
    if (length + 2 > SWI_MODULE_PATH)
        return swi_fail(error, SW_EUNSUPPORTED, SWI_MODULES_FILE ": path \"%.40s…\" is too long",
                        path);
    memcpy(ret, path, length);
    ret[length] = 0;
    if (length > 0 && !swi_manifest_name_ok(ret))
        return swi_fail(
            error, SW_EUNSUPPORTED,
            SWI_MODULES_FILE ": path \"%.80s\" is not a folder of the model's directory", path);
    if (length > 0)
        memcpy(ret + length, "/", 2);
    return 0;
}

static int refuse(const char *type, const char *why, struct swi_error *error)
{
    return swi_fail(error, SW_EUNSUPPORTED, SWI_MODULES_FILE ": module %.120s %s", type, why);
}

/* "sentence_transformers.models.Pooling" and, since 5.4,
 * "sentence_transformers.sentence_transformer.modules.pooling.Pooling". */
static const char *class_of(const char *type)
{
    const char *last = type ? strrchr(type, '.') : NULL;
    return last && strncmp(type, CLASS_PREFIX, strlen(CLASS_PREFIX)) == 0 ? last + 1 : NULL;
}

static int add_module(struct swi_modules *modules, uint32_t number, const json_t *entry,
                      bool *pooled, struct swi_error *error)
{
    static const struct {
        const char *class;
        enum swi_module_kind kind;
    } kinds[] = {{"Dense", SWI_MODULE_DENSE},
                 {"LayerNorm", SWI_MODULE_LAYER_NORM},
                 {"Normalize", SWI_MODULE_NORMALIZE}};
    const char *type = json_string_value(json_object_get(entry, "type"));
    const char *class = class_of(type);
    char path[SWI_MODULE_PATH];
    int result = take_path(entry, path, error);
    if (result < 0)
        return result;
    if (!type)
        return swi_fail(error, SW_EFORMAT, SWI_MODULES_FILE ": a module has no \"type\"");
    if (class && strcmp(class, "Transformer") == 0) {
        if (number > 0)
            return refuse(type, "is not the first one", error);
        (void)snprintf(modules->folder, sizeof modules->folder, "%s", path);
        return 0;
    }
    if (number == 0)
        return refuse(type, "is not supported as the first one; Transformer is", error);
    if (class && strcmp(class, "Pooling") == 0) {
        if (*pooled || modules->count > 0)
            return refuse(type, "does not follow the Transformer", error);
        *pooled = true;
        (void)snprintf(modules->pooling_path, sizeof modules->pooling_path, "%s", path);
        return 0;
    }
    for (size_t i = 0; class && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(class, kinds[i].class) != 0)
            continue;
        if (!*pooled)
            return refuse(type, "comes before a Pooling, which is not supported", error);
        struct swi_module *module = &modules->after[modules->count++];
        *module = (struct swi_module){.kind = kinds[i].kind, .number = number};
        (void)snprintf(module->path, sizeof module->path, "%s", path);
        return 0;
    }
    return refuse(
        type, "is not supported; Transformer, Pooling, Dense, LayerNorm and Normalize are", error);
}

int swi_modules_list(const struct swi_files *files, struct swi_modules *ret,
                     struct swi_error *error)
{
    struct swi_modules modules = {0};
    void *data;
    size_t size;
    json_t *root = NULL;
    bool pooled = false;
    int result = swi_files_read(files, SWI_MODULES_FILE, &data, &size, error);
    if (result == 0 && data) {
        result = swi_json_read(SWI_MODULES_FILE, data, size, NULL, &root, error);
        modules.listed = true;
    }
    free(data);
    size_t count = json_array_size(root);
    if (result == 0 && modules.listed && (count == 0 || count > SWI_MODULES_MAX))
        result = swi_fail(error, SW_EFORMAT, SWI_MODULES_FILE ": must be a list of 1 to %u modules",
                          SWI_MODULES_MAX);
    for (size_t i = 0; i < count && result == 0; i++)
        result = add_module(&modules, (uint32_t)i, json_array_get(root, i), &pooled, error);
    json_decref(root);
    if (!modules.listed)
        (void)snprintf(modules.pooling_path, sizeof modules.pooling_path, "1_Pooling/");
    modules.pooling.count = pooled || !modules.listed;
    if (result == 0)
        *ret = modules;
    return result;
}

int swi_modules_read(const struct swi_files *files, uint32_t hidden, struct swi_modules *modules,
                     struct swi_error *error)
{
    if (modules->pooling.count == 0)
        return 0;
    int result =
        read_pooling(files, modules->pooling_path, modules->listed, &modules->pooling, error);
    uint64_t width = (uint64_t)hidden * modules->pooling.count;
    for (uint32_t i = 0; i < modules->count && result == 0; i++) {
        modules->after[i].in = (uint32_t)width;
        result = read_module(files, &modules->after[i], error);
        width = modules->after[i].out;
    }
    return result;
}

uint32_t swi_modules_width(const struct swi_modules *modules, uint32_t hidden)
{
    return modules->count ? modules->after[modules->count - 1].out
                          : hidden * modules->pooling.count;
}

bool swi_module_has_weights(const struct swi_module *module)
{
    return module->kind != SWI_MODULE_NORMALIZE;
}
