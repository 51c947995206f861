/* SPDX-License-Identifier: MIT */
/* Models saved by torch: the same chunks as from safetensors, and nothing executed or believed on
 * the way. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "chunk/fixture.h"
#include "core/manifest.h"
#include "programs/chunk/source/pickle.h"
#include "support/keep.h"
#include "support/support.h"

static struct swi_error error;

/* ---- writing pickles ------------------------------------------------------------------------- */

struct writer {
    char *bytes;
    size_t size;
};

static void put(struct writer *writer, const void *data, size_t size)
{
    memcpy(writer->bytes + writer->size, data, size);
    writer->size += size;
}

#define PUT(writer, literal) put(writer, literal, sizeof(literal) - 1)

static void put_string(struct writer *writer, const char *text)
{
    uint32_t length = (uint32_t)strlen(text);
    PUT(writer, "X");
    put(writer, &length, 4);
    put(writer, text, length);
}

static void put_int(struct writer *writer, uint64_t value)
{
    uint32_t narrow = (uint32_t)value;
    PUT(writer, "J");
    put(writer, &narrow, 4);
}

/* What torch.save writes for one tensor of an own storage. */
static void put_tensor(struct writer *writer, const struct checkpoint_tensor *tensor,
                       const char *storage)
{
    static const char *const types[] = {"FloatStorage", "HalfStorage", "BFloat16Storage",
                                        "LongStorage"};
    const char *type = sup_format("ctorch\n%s\n", types[tensor->dtype]);
    PUT(writer, "ctorch._utils\n_rebuild_tensor_v2\n((");
    put_string(writer, "storage");
    put(writer, type, strlen(type));
    put_string(writer, storage);
    put_string(writer, "cpu");
    put_int(writer, tensor->bytes / sw_dtype_size(tensor->dtype));
    PUT(writer, "tQK\0(");
    for (uint32_t i = 0; i < tensor->rank; i++)
        put_int(writer, tensor->shape[i]);
    PUT(writer, "t(");
    for (uint32_t i = 0; i < tensor->rank; i++) {
        uint64_t stride = 1;
        for (uint32_t j = i + 1; j < tensor->rank; j++)
            stride *= tensor->shape[j];
        put_int(writer, stride);
    }
    PUT(writer, "t\x89"
                "ccollections\nOrderedDict\n)RtR");
}

static struct writer pickle_of(const struct checkpoint *checkpoint)
{
    struct writer writer = {.bytes = sup_keep(checkpoint->count * 512 + 512)};
    PUT(&writer, "\x80\x02"
                 "ccollections\nOrderedDict\n)Rq\0(");
    for (size_t i = 0; i < checkpoint->count; i++) {
        put_string(&writer, checkpoint->tensors[i].name);
        put_tensor(&writer, &checkpoint->tensors[i], sup_format("%zu", i));
    }
    /* and the version table that a state dictionary carries */
    PUT(&writer, "u}");
    put_string(&writer, "_metadata");
    PUT(&writer, "ccollections\nOrderedDict\n)Rsb.");
    return writer;
}

/* ---- writing archives ------------------------------------------------------------------------ */

static void add_entry(zip_t *zip, const char *name, const void *data, size_t size)
{
    zip_source_t *source = zip_source_buffer(zip, data, size, 0);
    zip_int64_t index = zip_file_add(zip, name, source, 0);
    cr_assert_geq(index, 0);
    cr_assert_eq(zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0), 0);
}

static zip_t *begin_archive(const char *path)
{
    int code;
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    cr_assert_not_null(zip);
    return zip;
}

static void write_archive(const char *path, const struct writer *pickle,
                          const struct checkpoint *checkpoint)
{
    zip_t *zip = begin_archive(path);
    add_entry(zip, "archive/data.pkl", pickle->bytes, pickle->size);
    add_entry(zip, "archive/byteorder", "little", 6);
    for (size_t i = 0; i < checkpoint->count; i++)
        add_entry(zip, sup_format("archive/data/%zu", i), checkpoint->tensors[i].data,
                  checkpoint->tensors[i].bytes);
    cr_assert_eq(zip_close(zip), 0);
}

/* Changes an archive that is there. */
static void change_archive(const char *path, const char *entry, const void *data, size_t size,
                           zip_int32_t method)
{
    int code;
    zip_t *zip = zip_open(path, 0, &code);
    cr_assert_not_null(zip);
    zip_int64_t index = zip_name_locate(zip, entry, 0);
    cr_assert_geq(index, 0, "%s", entry);
    if (!data)
        cr_assert_eq(zip_delete(zip, (zip_uint64_t)index), 0);
    else {
        zip_source_t *source = zip_source_buffer(zip, data, size, 0);
        cr_assert_eq(zip_file_replace(zip, (zip_uint64_t)index, source, 0), 0);
        cr_assert_eq(zip_set_file_compression(zip, (zip_uint64_t)index, method, 0), 0);
    }
    cr_assert_eq(zip_close(zip), 0);
}

static const char *model;
static const char *file;
static struct checkpoint checkpoint;

/* A Hugging Face directory with pytorch_model.bin instead of safetensors. */
static void make_model(void)
{
    model = fixture_model("model", NULL);
    const char *safetensors = sup_format("%s/model.safetensors", model);
    checkpoint = checkpoint_load(safetensors);
    sup_remove_tree(safetensors);
    file = sup_format("%s/pytorch_model.bin", model);
    struct writer pickle = pickle_of(&checkpoint);
    write_archive(file, &pickle, &checkpoint);
}

/* ---- good ones ------------------------------------------------------------------------------- */

static const char *manifest_of(const char *source, const char *folder)
{
    sup_mkdir(sup_path("%s", folder));
    (void)sup_run_ok(SUP_ARGS("swchunk", "import", source, sup_path("%s/name", folder)));
    return sup_read(sup_path("%s/name/chunk_info.json", folder), NULL);
}

Test(torch, a_state_dictionary_gives_the_chunks_that_safetensors_give, .init = make_model,
     .timeout = 60)
{
    const char *from_torch = manifest_of(model, "torch");
    checkpoint_save(&checkpoint, sup_format("%s/model.safetensors", model));
    cr_assert_str_eq(manifest_of(model, "safetensors"), from_torch);
}

Test(torch, shards_with_an_index_are_one_model, .init = make_model, .timeout = 60)
{
    const char *whole = manifest_of(model, "whole");
    sup_remove_tree(file);
    json_t *map = json_object();
    for (size_t shard = 0; shard < 2; shard++) {
        const char *name = sup_format("pytorch_model-%zu.bin", shard);
        struct checkpoint part = {.tensors = checkpoint.tensors + shard * 20,
                                  .count = shard ? checkpoint.count - 20 : 20};
        struct writer pickle = pickle_of(&part);
        write_archive(sup_format("%s/%s", model, name), &pickle, &part);
        for (size_t i = 0; i < part.count; i++)
            (void)json_object_set_new(map, part.tensors[i].name, json_string(name));
    }
    json_t *index = json_pack("{s:o}", "weight_map", map);
    cr_assert_eq(json_dump_file(index, sup_format("%s/pytorch_model.bin.index.json", model), 0), 0);
    json_decref(index);
    cr_assert_str_eq(manifest_of(model, "shards"), whole);
}

Test(torch, half_and_bfloat_tensors_keep_their_values, .init = make_model, .timeout = 60)
{
    for (int dtype = SW_DTYPE_F16; dtype <= SW_DTYPE_BF16; dtype++) {
        struct checkpoint_tensor *tensor = checkpoint_find(&checkpoint, "pooler.dense.weight");
        uint16_t one = dtype == SW_DTYPE_F16 ? 0x3c00 : 0x3f80;
        tensor->dtype = (enum sw_dtype)dtype;
        tensor->bytes = 40 * 40 * 2;
        for (size_t i = 0; i < 1600; i++)
            memcpy(tensor->data + 2 * i, &one, 2);
        struct writer pickle = pickle_of(&checkpoint);
        write_archive(file, &pickle, &checkpoint);
        const char *out = sup_path("out-%d", dtype);
        (void)sup_run_ok(SUP_ARGS("swchunk", "import", model, out, "--dtype", "f32"));
        (void)sup_run_ok(SUP_ARGS("swchunk", "export", out, sup_format("%s.safetensors", out)));
        struct checkpoint back = checkpoint_load(sup_format("%s.safetensors", out));
        const float *values =
            (const float *)(const void *)checkpoint_find(&back, "pooler.dense.weight")->data;
        for (size_t i = 0; i < 1600; i++)
            cr_assert(values[i] == 1);
    }
}

Test(torch, the_older_programs_chunks_are_the_same_model, .timeout = 60)
{
    const char *older = sup_test_data("models/bert-tiny-ancestor");
    const char *published = sup_test_data("models/bert-tiny");
    cr_assert_str_eq(manifest_of(older, "older"), manifest_of(published, "published"));
    (void)sup_run_ok(SUP_ARGS("swchunk", "verify", sup_path("older/name")));
}

/* The older program's directory, made here: chunks with names of their own. */
static void split_into_components(void)
{
    make_model();
    sup_remove_tree(file);
    static const char *const components[] = {"embeddings", "layer_0", "layer_1", "pooler"};
    static const char *const prefixes[] = {"embeddings.", "encoder.layer.0.", "encoder.layer.1.",
                                           "pooler."};
    json_t *chunks = json_object();
    for (size_t c = 0; c < 4; c++) {
        struct checkpoint part = {.tensors = sup_keep(64 * sizeof *part.tensors)};
        for (size_t i = 0; i < checkpoint.count; i++) {
            size_t length = strlen(prefixes[c]);
            if (strncmp(checkpoint.tensors[i].name, prefixes[c], length) != 0)
                continue;
            part.tensors[part.count] = checkpoint.tensors[i];
            part.tensors[part.count++].name += length;
        }
        struct writer pickle = pickle_of(&part);
        write_archive(sup_format("%s/%s.pt", model, components[c]), &pickle, &part);
        (void)json_object_set_new(
            chunks, components[c],
            json_pack("{s:s, s:f}", "file", sup_format("%s.pt", components[c]), "size_mb", 0.5));
    }
    json_t *root = json_pack("{s:s, s:s, s:i, s:o}", "model_name", "m", "model_type", "bert",
                             "num_layers", 2, "chunks", chunks);
    cr_assert_eq(json_dump_file(root, sup_format("%s/chunk_info.json", model), 0), 0);
    json_decref(root);
}

static void refuse_component(const char *name, const char *path, const char *const texts[])
{
    const char *manifest = sup_format("%s/chunk_info.json", model);
    char *before = sup_read(manifest, NULL);
    json_t *root = json_load_file(manifest, 0, NULL);
    (void)json_object_set_new(json_object_get(root, "chunks"), name,
                              json_pack("{s:s}", "file", path));
    cr_assert_eq(json_dump_file(root, manifest, 0), 0);
    json_decref(root);
    fixture_expect_import_refused(model, NULL, texts);
    sup_write_text(manifest, before);
}

Test(torch, older_chunks_are_checked, .init = split_into_components, .timeout = 60)
{
    const char *from_chunks = manifest_of(model, "chunks");
    refuse_component("layer_7", "layer_1.pt", TEXTS("layer_1.pt: tensor encoder.layer.7."));
    refuse_component("layer_1", "layer_9.pt", TEXTS("layer_9.pt: No such file"));
    refuse_component("layer_1", "../layer_1.pt", TEXTS("layer_1", "not a plain file name"));
    refuse_component("layer_1x", "layer_1.pt", TEXTS("chunk layer_1x is neither"));
    refuse_component("optimizer", "layer_1.pt", TEXTS("chunk optimizer is neither"));
    sup_remove_tree(sup_format("%s/chunk_info.json", model));
    checkpoint_save(&checkpoint, sup_format("%s/model.safetensors", model));
    cr_assert_str_eq(manifest_of(model, "safetensors"), from_chunks);
}

/* ---- archives that are not what they should be ----------------------------------------------- */

Test(torch, storages_are_held_against_the_tensors_in_them, .init = make_model, .timeout = 60)
{
    size_t size;
    char *whole = sup_read(file, &size);
    static char zeros[4096];
    change_archive(file, "archive/data/3", zeros, 10, ZIP_CM_STORE);
    fixture_expect_import_refused(model, NULL, TEXTS("pytorch_model.bin: tensor ", "10 bytes"));
    change_archive(file, "archive/data/3", NULL, 0, ZIP_CM_STORE);
    fixture_expect_import_refused(model, NULL,
                                  TEXTS("pytorch_model.bin: tensor ", "archive/data/3 is missing"));
    sup_write(file, whole, size);
    change_archive(file, "archive/data/3", zeros, sizeof zeros, ZIP_CM_DEFLATE);
    fixture_expect_import_refused(model, NULL, TEXTS("archive/data/3 is compressed"));
    sup_write(file, whole, size);
    change_archive(file, "archive/byteorder", "big", 3, ZIP_CM_STORE);
    fixture_expect_import_refused(model, NULL, TEXTS("byte order is big"));
    sup_write(file, whole, size);
    change_archive(file, "archive/data.pkl", NULL, 0, ZIP_CM_STORE);
    fixture_expect_import_refused(model, NULL, TEXTS("no data.pkl inside"));
}

Test(torch, damaged_archives_are_noticed, .init = make_model, .timeout = 60)
{
    size_t size;
    char *whole = sup_read(file, &size);
    const struct checkpoint_tensor *words =
        checkpoint_find(&checkpoint, "embeddings.word_embeddings.weight");
    char *data = memmem(whole, size, words->data, words->bytes);
    cr_assert_not_null(data);
    data[words->bytes / 2] ^= 1;
    sup_write(file, whole, size);
    fixture_expect_import_refused(
        model, NULL, TEXTS("pytorch_model.bin: tensor embeddings.word_embeddings", "damaged"));
    data[words->bytes / 2] ^= 1;
    sup_write(file, whole, size - 30);
    fixture_expect_import_refused(model, NULL, TEXTS("pytorch_model.bin: ", "zip"));
    sup_write(file, whole, 100);
    fixture_expect_import_refused(model, NULL, TEXTS("pytorch_model.bin: ", "zip"));
    sup_write(file, "", 0);
    fixture_expect_import_refused(model, NULL, TEXTS("pytorch_model.bin: ", "empty"));
    /* the format before 1.6 begins with a pickled magic number */
    static const char old[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M";
    sup_write(file, old, sizeof old - 1);
    fixture_expect_import_refused(model, NULL, TEXTS("torch before 1.6", "save it again"));
}

Test(torch, a_pickle_that_would_run_a_command_runs_none, .init = make_model, .timeout = 60)
{
    const char *witness = sup_path("witness");
    struct writer pickle = {.bytes = sup_keep(1024)};
    PUT(&pickle, "cposix\nsystem\n(");
    put_string(&pickle, sup_format("touch %s", witness));
    PUT(&pickle, "tR.");
    write_archive(file, &pickle, &checkpoint);
    fixture_expect_import_refused(
        model, NULL, TEXTS("pytorch_model.bin: ", "posix.system", "nothing was executed"));
    cr_assert_not(sup_exists(witness));
}

/* ---- pickles, one by one --------------------------------------------------------------------- */

static int parse(const void *bytes, size_t size, struct pickle *ret)
{
    char *tight = malloc(size ? size : 1);
    cr_assert_not_null(tight);
    memcpy(tight, bytes, size);
    error = (struct swi_error){0};
    int result = pickle_parse(tight, size, ret, &error);
    if (result == 0)
        for (size_t i = 0; i < ret->count; i++) {
            const struct pickle_tensor *tensor = &ret->tensors[i];
            uint64_t elements = 1;
            for (uint32_t j = 0; j < tensor->rank; j++)
                elements *= tensor->shape[j];
            cr_assert_leq(tensor->offset + elements, tensor->storage_elements);
            cr_assert(tensor->name >= tight && tensor->name + tensor->name_length <= tight + size);
        }
    free(tight);
    return result;
}

#define REFUSE(code, bytes, message)                                                               \
    do {                                                                                           \
        struct pickle pickle = {.count = 4711};                                                    \
        cr_assert_eq(parse(bytes, sizeof(bytes) - 1, &pickle), code, "%s", error.text);            \
        cr_assert_eq(pickle.count, 4711);                                                          \
        cr_assert_not_null(strstr(error.text, message), "%s", error.text);                         \
    } while (0)

#define STORAGE                                                                                    \
    "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"                                             \
    "0X\3\0\0\0cpuK\6tQ"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n"
#define HOOKS                                                                                      \
    "\x89"                                                                                         \
    "ccollections\nOrderedDict\n)R"
/* {"a": a tensor with this offset, these sizes and strides} */
#define WITH(offset, sizes, strides)                                                               \
    "}X\1\0\0\0a" REBUILD "(" STORAGE offset sizes strides HOOKS "tRs."

Test(pickle, the_smallest_dictionary, .timeout = 10)
{
    struct pickle pickle;
    static const char good[] = WITH("K\0", "K\2K\3\x86", "K\3K\1\x86");
    cr_assert_eq(parse(good, sizeof good - 1, &pickle), 0, "%s", error.text);
    cr_assert_eq(pickle.count, 1);
    cr_assert(pickle.tensors[0].rank == 2 && pickle.tensors[0].shape[0] == 2 &&
              pickle.tensors[0].shape[1] == 3 && pickle.tensors[0].dtype == SW_DTYPE_F32);
    pickle_fini(&pickle);
    static const char parameter[] = "}X\1\0\0\0a"
                                    "ctorch._utils\n_rebuild_parameter\n(" REBUILD "(" STORAGE
                                    "K\1K\5\x85K\1\x85" HOOKS "tR" HOOKS "tRs.";
    cr_assert_eq(parse(parameter, sizeof parameter - 1, &pickle), 0, "%s", error.text);
    cr_assert(pickle.count == 1 && pickle.tensors[0].offset == 1);
    pickle_fini(&pickle);
    cr_assert_eq(parse("}.", 2, &pickle), 0);
    cr_assert_eq(pickle.count, 0);
    pickle_fini(&pickle);
}

Test(pickle, tensors_stay_inside_their_storage, .timeout = 10)
{
    REFUSE(SW_EFORMAT, WITH("K\1", "K\2K\3\x86", "K\3K\1\x86"), "beyond its storage");
    REFUSE(SW_EFORMAT, WITH("K\0", "K\7\x85", "K\1\x85"), "beyond its storage");
    REFUSE(SW_EFORMAT, WITH("J\xff\xff\xff\x7f", "K\1\x85", "K\1\x85"), "beyond its storage");
    REFUSE(SW_EFORMAT, WITH("J\xff\xff\xff\xff", "K\1\x85", "K\1\x85"), "malformed");
    REFUSE(SW_EFORMAT, WITH("K\0", "J\xff\xff\xff\xff\x85", "K\1\x85"), "malformed");
    REFUSE(SW_EFORMAT,
           WITH("K\0", "\x8a\x08\0\0\0\0\0\0\0\x40\x8a\x08\0\0\0\0\0\0\0\x40\x86",
                "\x8a\x08\0\0\0\0\0\0\0\x40K\1\x86"),
           "malformed");
    static const char turned[] = WITH("K\0", "K\2K\3\x86", "K\1K\2\x86");
    struct pickle strided;
    cr_assert_eq(parse(turned, sizeof turned - 1, &strided), 0, "%s", error.text);
    cr_assert(strided.tensors[0].strided && strided.tensors[0].extent == 6);
    pickle_fini(&strided);
    REFUSE(SW_EFORMAT, WITH("K\0", "K\2K\3\x86", "K\2K\2\x86"), "beyond its storage");
    REFUSE(SW_EUNSUPPORTED, WITH("K\0", "(K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1t"), "rank 5");
    REFUSE(SW_EFORMAT, WITH("K\0", "K\2K\3\x86", "K\1\x85"), "malformed");
    REFUSE(SW_EFORMAT, WITH("K\0", "K\1", "K\1"), "malformed");
}

Test(pickle, what_is_not_on_the_list_is_named, .timeout = 10)
{
    REFUSE(SW_EUNSUPPORTED, "cos\nsystem\n.", "os.system");
    REFUSE(SW_EUNSUPPORTED, "c__builtin__\neval\n.", "__builtin__.eval");
    REFUSE(SW_EUNSUPPORTED, "cbuiltins\nexec\n.", "builtins.exec");
    REFUSE(SW_EUNSUPPORTED, "ctorch\nload\n.", "torch.load");
    REFUSE(SW_EUNSUPPORTED, "cnumpy.core.multiarray\n_reconstruct\n.", "_reconstruct");
    REFUSE(SW_EUNSUPPORTED, "ctorch\nComplexFloatStorage\n.", "torch.ComplexFloatStorage");
    REFUSE(SW_EUNSUPPORTED, "ctorch\nFloatStorag\n.", "torch.FloatStorag,");
    REFUSE(SW_EUNSUPPORTED, "i__builtin__\neval\n.", "opcode 0x69");
    REFUSE(SW_EUNSUPPORTED, "].", "opcode 0x5d");
    REFUSE(SW_EFORMAT, "\x80\4\x95", "malformed");
    REFUSE(SW_EUNSUPPORTED, "\x82\1.", "opcode 0x82");
    REFUSE(SW_EFORMAT, "P1\n.", "malformed");
    REFUSE(SW_EUNSUPPORTED, "K\1.", "no dictionary");
    REFUSE(SW_EUNSUPPORTED, "}K\1K\1s.", "not a string");
    REFUSE(SW_EUNSUPPORTED, "}X\1\0\0\0aK\1s.", "\"a\" is not a tensor");
    REFUSE(SW_EUNSUPPORTED, "}X\3\0\0\0a\0bK\1s.", "not a string");
    REFUSE(SW_EUNSUPPORTED, "}q\0X\1\0\0\0ah\0s.", "\"a\" is not a tensor"); /* contains itself */
}

Test(pickle, no_opcode_but_those_of_the_list, .timeout = 10)
{
    static const char known[] = "\x80(N\x88\x89KMJ\x8aXc)\x85\x86\x87t}subqrhjQR."
                                "ILTUV\x8c\x8d\x93\x94\x95"
                                "dpgP";
    int refused = 0;
    for (int opcode = 0; opcode < 256; opcode++) {
        const char bytes[] = {'}', '}', '}', (char)opcode, 0, 0, 0, 0, '.'};
        struct pickle pickle;
        if (memchr(known, opcode, sizeof known - 1))
            continue;
        cr_assert_eq(parse(bytes, sizeof bytes, &pickle), SW_EUNSUPPORTED, "0x%02x", opcode);
        cr_assert_not_null(strstr(error.text, sup_format("opcode 0x%02x", opcode)), "%s",
                           error.text);
        refused++;
    }
    cr_assert_eq(refused, 256 - (int)(sizeof known - 1));
}

/* A tuple of two that each are a tuple of two …: 2^64 elements, were they ever walked. */
Test(pickle, tuples_that_double_cost_what_they_are_long, .timeout = 10)
{
    struct writer writer = {.bytes = sup_keep(1024)};
    struct pickle pickle;
    PUT(&writer, "}X\1\0\0\0a()q\0");
    for (int i = 0; i < 64; i++)
        PUT(&writer, "h\0h\0\x86q\0");
    PUT(&writer, "ts.");
    cr_assert_eq(parse(writer.bytes, writer.size, &pickle), SW_EUNSUPPORTED, "%s", error.text);
    cr_assert_not_null(strstr(error.text, "\"a\" is not a tensor"), "%s", error.text);
}

Test(pickle, a_stack_that_does_not_hold_what_is_asked_for, .timeout = 10)
{
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
#define BAD(text) {text, sizeof(text) - 1}
        BAD(""),
        BAD("."),
        BAD("}"),
        BAD("t."),
        BAD("}}."),
        BAD("(}."),
        BAD("}u."),
        BAD("(u."),
        BAD("}(K\1u."),
        BAD("K\1(K\1K\1u."),
        BAD("s."),
        BAD("}s."),
        BAD("}K\1s."),
        BAD("}(K\1K\1s."),
        BAD("R."),
        BAD("}R."),
        BAD("}}R."),
        BAD(")R."),
        BAD("Q."),
        BAD(")Q."),
        BAD("b."),
        BAD("}b."),
        BAD("}K\1b."),
        BAD("K\1}b."),
        BAD("q\0."),
        BAD("(q\0."),
        BAD("}q"),
        BAD("h\0."),
        BAD("}q\5h\4."),
        BAD("}r\xff\xff\xff\xff."),
        BAD("j\0\0\0\0."),
        BAD("\x85."),
        BAD("K\1\x86."),
        BAD("(\x85."),
        BAD("X\xff\xff\xff\xff"
            "a."),
        BAD("X\1\0\0\0"),
        BAD("J\1\2\3"),
        BAD("M\1"),
        BAD("K"),
        BAD("c"),
        BAD("ctorch"),
        BAD("ctorch\n"),
        BAD("ctorch\nFloatStorage"),
        BAD("\x8a\x09"
            "123456789."),
        BAD("\x8a\x08"
            "1234567"),
        BAD("\x80"),
        BAD("ccollections\nOrderedDict\nK\1\x85R."),
        BAD("ctorch\nFloatStorage\n)R."),
        BAD(REBUILD ")R."),
        BAD("ctorch._utils\n_rebuild_parameter\n)R."),
        BAD("ctorch._utils\n_rebuild_parameter\nK\1\x85R."),
        BAD(REBUILD "(K\1K\1K\1K\1K\1K\1tR."),
#undef BAD
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pickle pickle;
        cr_assert_eq(parse(bad[i].bytes, bad[i].size, &pickle), SW_EFORMAT, "%zu: %s", i,
                     error.text);
    }
}

Test(pickle, floods_run_into_limits, .timeout = 60)
{
    static const char *const floods[] = {"(", "N", "}", ")", "(t", "Nq\1h\1h\1h\1", "K\1K\1\x86"};
    size_t size = PICKLE_BYTES_MAX;
    char *bytes = malloc(size + 1);
    cr_assert_not_null(bytes);
    for (size_t i = 0; i < sizeof floods / sizeof floods[0]; i++) {
        size_t unit = strlen(floods[i]);
        for (size_t at = 0; at + unit <= size; at += unit)
            memcpy(bytes + at, floods[i], unit);
        struct pickle pickle;
        cr_assert_eq(pickle_parse(bytes, size / unit * unit, &pickle, &error), SW_EFORMAT, "%zu",
                     i);
        cr_assert_not_null(strstr(error.text, "larger than any model"), "%s", error.text);
    }
    struct pickle pickle;
    cr_assert_eq(pickle_parse(bytes, size + 1, &pickle, &error), SW_EFORMAT);
    free(bytes);
}

Test(pickle, cut_and_changed_bytes_do_no_harm, .init = make_model, .timeout = 100)
{
    checkpoint.count = 2;
    struct writer good = pickle_of(&checkpoint);
    struct pickle pickle;
    cr_assert_eq(parse(good.bytes, good.size, &pickle), 0, "%s", error.text);
    cr_assert_eq(pickle.count, 2);
    pickle_fini(&pickle);
    for (size_t size = 0; size < good.size; size++)
        cr_assert_lt(parse(good.bytes, size, &pickle), 0, "cut to %zu", size);
    for (size_t i = 0; i < good.size; i++)
        for (int byte = 0; byte < 256; byte++) {
            char before = good.bytes[i];
            good.bytes[i] = (char)byte;
            if (parse(good.bytes, good.size, &pickle) == 0)
                pickle_fini(&pickle);
            good.bytes[i] = before;
        }
}
