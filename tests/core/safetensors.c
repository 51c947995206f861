/* SPDX-License-Identifier: MIT */
/* Safetensors headers: what is rendered can be read, by us and under the rules of Hugging Face's
 * reader, and what contradicts itself cannot. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/safetensors.h"

static struct swi_error error;

/* Parses a header with this JSON before data_bytes of data, from memory of exactly that size. */
static int parse_sized(const char *json, size_t json_size, uint64_t data_bytes,
                       struct swi_safetensors *ret)
{
    char *file = malloc(8 + json_size);
    cr_assert_not_null(file);
    uint64_t length = htole64(json_size);
    memcpy(file, &length, 8);
    memcpy(file + 8, json, json_size);
    error = (struct swi_error){0};
    int result =
        swi_safetensors_parse(file, 8 + json_size, 8 + json_size + data_bytes, ret, NULL, &error);
    free(file);
    cr_assert(result == 0 || error.text[0], "a refusal says why");
    return result;
}

static int parse(const char *json, uint64_t data_bytes, struct swi_safetensors *ret)
{
    return parse_sized(json, strlen(json), data_bytes, ret);
}

static void refuse(const char *json, uint64_t data_bytes, int code, const char *message)
{
    struct swi_safetensors file = {.count = 4711};
    cr_assert_eq(parse(json, data_bytes, &file), code, "%s", json);
    cr_assert_eq(file.count, 4711, "the output is untouched");
    cr_assert_not_null(strstr(error.text, message), "\"%s\" for %s", error.text, json);
}

Test(safetensors, reads_tensors_in_order_of_offset, .timeout = 10)
{
    struct swi_safetensors file;
    cr_assert_eq(parse("{\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
                       "\"__metadata__\":{\"k\":\"v\"},"
                       "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                       "\"c\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[20,28]},"
                       "\"d\":{\"dtype\":\"BF16\",\"shape\":[0,7],\"data_offsets\":[8,8]}}   ",
                       28, &file),
                 0, "%s", error.text);
    cr_assert_eq(file.count, 4);
    static const char *const names[] = {"a", "d", "b", "c"};
    for (size_t i = 0; i < 4; i++)
        cr_assert_str_eq(file.tensors[i].name, names[i]);
    const struct swi_tensor *b = swi_safetensors_find(&file, "b");
    cr_assert(b && b->dtype == SW_DTYPE_F16 && b->rank == 2 && b->shape[0] == 2 &&
              b->shape[1] == 3);
    cr_assert_eq(b->offset, file.data_offset + 8);
    cr_assert_eq(b->bytes, 12);
    cr_assert_eq(swi_safetensors_find(&file, "c")->rank, 0);
    cr_assert_null(swi_safetensors_find(&file, "e"));
    cr_assert_str_eq(swi_safetensors_metadata(&file, "k"), "v");
    cr_assert_null(swi_safetensors_metadata(&file, "a"));
    swi_safetensors_fini(&file);
    swi_safetensors_fini(&file); /* a second time does nothing */
}

Test(safetensors, an_empty_file_has_no_tensors, .timeout = 10)
{
    struct swi_safetensors file;
    cr_assert_eq(parse("{}", 0, &file), 0);
    cr_assert_eq(file.count, 0);
    swi_safetensors_fini(&file);
}

#define ONE(dtype, shape, offsets)                                                                 \
    "{\"t\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

Test(safetensors, refuses_sizes_that_do_not_add_up, .timeout = 10)
{
    refuse(ONE("F32", "[2]", "[0,9]"), 9, SW_EFORMAT, "do not match its shape");
    refuse(ONE("F32", "[2]", "[0,8]"), 7, SW_EFORMAT, "outside the file");
    refuse(ONE("F32", "[2]", "[0,8]"), 12, SW_EFORMAT, "belong to no tensor");
    refuse(ONE("F32", "[2]", "[8,0]"), 8, SW_EFORMAT, "outside the file");
    refuse(ONE("F32", "[2]", "[4,12]"), 12, SW_EFORMAT, "gap");
    refuse(ONE("F32", "[2]", "[0,9223372036854775807]"), 8, SW_EFORMAT, "outside the file");
    refuse(ONE("F32", "[4611686018427387904]", "[0,0]"), 0, SW_EFORMAT, "do not match its shape");
    refuse(ONE("F32", "[4294967296,4294967296,4]", "[0,0]"), 0, SW_EFORMAT,
           "do not match its shape");
    refuse(ONE("F32", "[9223372036854775807,9223372036854775807]", "[0,4]"), 4, SW_EFORMAT,
           "do not match its shape");
    refuse(ONE("F32", "[99999999999999999999]", "[0,4]"), 4, SW_EFORMAT, "JSON");
    refuse(ONE("F32", "[-1]", "[0,4]"), 4, SW_EFORMAT, "natural numbers");
    refuse(ONE("F32", "[1]", "[-4,0]"), 4, SW_EFORMAT, "natural numbers");
    refuse(ONE("F32", "[1.0]", "[0,4]"), 4, SW_EFORMAT, "natural numbers");
    refuse(ONE("F32", "[1]", "[0,4,8]"), 4, SW_EFORMAT, "natural numbers");
    refuse(ONE("F32", "[1]", "[0]"), 4, SW_EFORMAT, "natural numbers");
    refuse(ONE("F32", "{}", "[0,4]"), 4, SW_EFORMAT, "shape");
    refuse(ONE("F32", "[1,1,1,1,1]", "[0,4]"), 4, SW_EUNSUPPORTED, "rank 5");
    refuse(ONE("F64", "[1]", "[0,8]"), 8, SW_EUNSUPPORTED, "F64");
    refuse(ONE("U8", "[4]", "[0,4]"), 4, SW_EUNSUPPORTED, "U8");
    refuse(ONE("f32", "[1]", "[0,4]"), 4, SW_EUNSUPPORTED, "f32");
}

Test(safetensors, refuses_overlaps_and_names_both, .timeout = 10)
{
    refuse("{\"first\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
           "\"second\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
           12, SW_EFORMAT, "tensor second overlaps tensor first");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
           "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
           8, SW_EFORMAT, "overlaps");
    /* an empty one inside another */
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
           "\"b\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]}}",
           8, SW_EFORMAT, "overlaps");
}

Test(safetensors, refuses_what_is_no_header, .timeout = 10)
{
    refuse("", 0, SW_EFORMAT, "JSON");
    refuse("[]", 0, SW_EFORMAT, "not a JSON object");
    refuse("{", 0, SW_EFORMAT, "JSON");
    refuse("{}x", 0, SW_EFORMAT, "JSON");
    refuse("{\"t\":4}", 0, SW_EFORMAT, "not an object");
    refuse("{\"t\":{}}", 0, SW_EFORMAT, "dtype");
    refuse("{\"t\":{\"dtype\":4}}", 0, SW_EFORMAT, "dtype");
    refuse("{\"t\":{\"dtype\":\"F32\"}}", 0, SW_EFORMAT, "shape");
    refuse("{\"t\":{\"dtype\":\"F32\",\"shape\":[]}}", 0, SW_EFORMAT, "data_offsets");
    refuse("{\"__metadata__\":[]}", 0, SW_EFORMAT, "__metadata__");
    refuse("{\"__metadata__\":{\"a\":1}}", 0, SW_EFORMAT, "not a string");
    refuse("{\"\xff\":1}", 0, SW_EFORMAT, "JSON");
    refuse("{\"a\\u0000b\":1}", 0, SW_EFORMAT, "JSON");
    refuse("{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
           "\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
           8, SW_EFORMAT, "JSON");
    refuse("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, SW_EFORMAT, "JSON");
}

Test(safetensors, deep_nesting_is_refused_and_not_followed, .timeout = 20)
{
    enum { DEPTH = 2000000 };
    char *json = malloc(DEPTH + 16);
    cr_assert_not_null(json);
    int head = snprintf(json, 16, "{\"a\":");
    memset(json + head, '[', DEPTH);
    struct swi_safetensors file;
    cr_assert_eq(parse_sized(json, (size_t)head + DEPTH, 0, &file), SW_EFORMAT);
    free(json);
}

Test(safetensors, header_lengths_that_lie_are_refused, .timeout = 10)
{
    struct swi_safetensors file;
    uint64_t lengths[] = {3,          1u << 20,      SWI_HEADER_MAX, SWI_HEADER_MAX + 1ull,
                          UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char bytes[10] = {0};
        uint64_t length = htole64(lengths[i]);
        memcpy(bytes, &length, 8);
        cr_assert_eq(swi_safetensors_parse(bytes, sizeof bytes, sizeof bytes, &file, NULL, &error),
                     SW_EFORMAT, "%zu", i);
    }
    cr_assert_eq(swi_safetensors_parse("", 0, 0, &file, NULL, &error), SW_EFORMAT);
    cr_assert_eq(swi_safetensors_parse("1234567", 7, 7, &file, NULL, &error), SW_EFORMAT);
}

Test(safetensors, says_how_much_of_the_file_it_needs, .timeout = 10)
{
    static const char json[] = ONE("F32", "[1]", "[0,4]");
    char bytes[8 + sizeof json - 1];
    uint64_t length = htole64(sizeof json - 1), needed = 0;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, json, sizeof json - 1);
    struct swi_safetensors file;
    for (size_t available = 0; available < sizeof bytes; available++) {
        cr_assert_eq(
            swi_safetensors_parse(bytes, available, sizeof bytes + 4, &file, &needed, NULL),
            -EAGAIN);
        cr_assert_eq(needed, available < 8 ? 8 : sizeof bytes);
    }
    cr_assert_eq(swi_safetensors_parse(bytes, sizeof bytes, sizeof bytes + 4, &file, NULL, NULL),
                 0);
    swi_safetensors_fini(&file);
}

Test(safetensors, counts_of_tensors_are_limited, .timeout = 60)
{
    size_t room = (SWI_TENSORS_MAX + 1) * 80ull, at = 0;
    char *json = malloc(room);
    cr_assert_not_null(json);
    json[at++] = '{';
    for (unsigned i = 0; i <= SWI_TENSORS_MAX; i++)
        at += (size_t)snprintf(json + at, room - at,
                               "%s\"%u\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}",
                               i ? "," : "", i);
    json[at++] = '}';
    struct swi_safetensors file;
    cr_assert_eq(parse_sized(json, at, 0, &file), SW_EFORMAT);
    cr_assert_not_null(strstr(error.text, "65537 tensors"), "%s", error.text);
    free(json);
}

/* ---- rendering ------------------------------------------------------------------------------- */

static struct swi_tensor tensor_of(const char *name, enum sw_dtype dtype, uint64_t n, uint64_t k)
{
    return (struct swi_tensor){
        .name = (char *)(uintptr_t)name, .dtype = dtype, .rank = k ? 2 : 1, .shape = {n, k}};
}

Test(safetensors, what_is_rendered_is_aligned_and_without_holes, .timeout = 10)
{
    struct swi_tensor tensors[] = {
        tensor_of("odd", SW_DTYPE_F16, 3, 7),     tensor_of("vector", SW_DTYPE_F32, 120, 0),
        tensor_of("even", SW_DTYPE_BF16, 32, 16), tensor_of("empty", SW_DTYPE_F32, 0, 3),
        tensor_of("last", SW_DTYPE_F32, 2, 0),
    };
    char key[] = "model", value[] = "m \"ü\"";
    struct swi_metadata metadata[] = {{key, value}};
    struct swi_safetensors file = {
        .tensors = tensors, .count = 5, .metadata = metadata, .metadata_count = 1};
    char *header;
    size_t size;
    uint64_t bytes;
    cr_assert_eq(swi_safetensors_render(&file, SWI_TENSOR_ALIGN, &header, &size, &bytes, &error),
                 0);
    cr_assert_eq(size % SWI_DATA_ALIGN, 0);
    cr_assert_eq(file.data_offset, size);
    struct swi_safetensors back;
    cr_assert_eq(swi_safetensors_parse(header, size, bytes, &back, NULL, &error), 0, "%s",
                 error.text);
    cr_assert_eq(back.count, 5, "fillers are left out");
    cr_assert_eq(back.data_offset, size);
    for (size_t i = 0; i < 5; i++) {
        cr_assert_str_eq(back.tensors[i].name, tensors[i].name);
        cr_assert_eq(back.tensors[i].offset, tensors[i].offset);
        cr_assert_eq(back.tensors[i].offset % SWI_TENSOR_ALIGN, 0);
        cr_assert_eq(back.tensors[i].bytes, tensors[i].bytes);
        cr_assert_eq(back.tensors[i].dtype, tensors[i].dtype);
    }
    cr_assert_eq(tensors[4].offset + tensors[4].bytes, bytes, "nothing after the last");
    cr_assert_str_eq(swi_safetensors_metadata(&back, "model"), value);
    swi_safetensors_fini(&back);
    cr_assert_not_null(strstr(header + 8, SWI_FILLER_PREFIX "0__"));
    free(header);
}

Test(safetensors, without_alignment_there_are_no_fillers, .timeout = 10)
{
    struct swi_tensor tensors[] = {tensor_of("a", SW_DTYPE_F16, 3, 0),
                                   tensor_of("b", SW_DTYPE_F32, 5, 0)};
    struct swi_safetensors file = {.tensors = tensors, .count = 2};
    char *header;
    size_t size;
    uint64_t bytes;
    cr_assert_eq(swi_safetensors_render(&file, 1, &header, &size, &bytes, &error), 0);
    cr_assert_eq(bytes, size + 6 + 20);
    cr_assert_eq(tensors[1].offset, size + 6);
    free(header);
}

static int render(struct swi_tensor *tensors, size_t count)
{
    struct swi_safetensors file = {.tensors = tensors, .count = count};
    char *header = NULL;
    size_t size;
    uint64_t bytes;
    int result = swi_safetensors_render(&file, 64, &header, &size, &bytes, &error);
    cr_assert(result == 0 || !header);
    free(header);
    return result;
}

Test(safetensors, does_not_render_what_could_not_be_read, .timeout = 10)
{
    struct swi_tensor twice[] = {tensor_of("a", SW_DTYPE_F16, 3, 0),
                                 tensor_of("a", SW_DTYPE_F32, 5, 0)};
    cr_assert_eq(render(twice, 2), SW_EFORMAT);
    struct swi_tensor filler = tensor_of("__pad_0__", SW_DTYPE_F16, 3, 0);
    cr_assert_eq(render(&filler, 1), SW_EFORMAT);
    struct swi_tensor reserved = tensor_of("__metadata__", SW_DTYPE_F16, 3, 0);
    cr_assert_eq(render(&reserved, 1), SW_EFORMAT);
    struct swi_tensor broken = tensor_of("\xff", SW_DTYPE_F16, 3, 0);
    cr_assert_eq(render(&broken, 1), SW_EFORMAT);
    struct swi_tensor huge = tensor_of("a", SW_DTYPE_F32, 1ull << 40, 1ull << 40);
    cr_assert_eq(render(&huge, 1), SW_EFORMAT);
    struct swi_tensor large = tensor_of("a", SW_DTYPE_F32, 1ull << 30, 1ull << 31);
    cr_assert_eq(render(&large, 1), SW_EFORMAT, "over the largest file offset");
}

/* A good header with one byte changed is read or refused, never followed out of bounds. */
Test(safetensors, flipped_bytes_do_no_harm, .timeout = 60)
{
    static const char json[] = "{\"__metadata__\":{\"k\":\"v\"},"
                               "\"a\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[0,32]},"
                               "\"__pad_0__\":{\"dtype\":\"U8\",\"shape\":[32],"
                               "\"data_offsets\":[32,64]},"
                               "\"b\":{\"dtype\":\"F16\",\"shape\":[16],\"data_offsets\":[64,96]}}";
    char changed[sizeof json];
    int good = 0;
    for (size_t i = 0; i + 1 < sizeof json; i++)
        for (int byte = 1; byte < 256; byte++) {
            memcpy(changed, json, sizeof json);
            changed[i] = (char)byte;
            struct swi_safetensors file;
            if (parse_sized(changed, sizeof json - 1, 96, &file) < 0)
                continue;
            good++;
            for (size_t j = 0; j < file.count; j++)
                cr_assert(file.tensors[j].offset + file.tensors[j].bytes <= file.data_offset + 96);
            swi_safetensors_fini(&file);
        }
    cr_assert_gt(good, 0);
}
