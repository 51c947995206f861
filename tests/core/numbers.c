/* SPDX-License-Identifier: MIT */
/* Half floats, panels, sizes, digests, error texts and large memory: the small parts of core. */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/digest.h"
#include "core/error.h"
#include "core/half.h"
#include "core/huge_pages.h"
#include "core/panel.h"
#include "core/size.h"

/* ---- half floats ----------------------------------------------------------------------------- */

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* What an f16 means, by its definition, in double. */
static double meaning_of_f16(uint16_t half)
{
    int exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    double magnitude = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

/* Nearest f16, ties to even, by rounding a multiple of the last place in double: exact for every
 * f32. */
static uint16_t nearest_f16(float value)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double magnitude = fabs((double)value);
    int exponent;
    (void)frexp(magnitude, &exponent);
    int place = exponent - 11 < -24 ? -24 : exponent - 11; /* 2^place: the last place */
    double rounded = ldexp(nearbyint(ldexp(magnitude, -place)), place);
    if (rounded >= 65536)
        return sign | 0x7c00;
    if (rounded < 0x1p-14)
        return (uint16_t)(sign | (uint16_t)ldexp(rounded, 24));
    double fraction = frexp(rounded, &exponent); /* 0.5 ≤ fraction < 1 */
    return (uint16_t)(sign | (uint16_t)((exponent + 14) << 10) |
                      (uint16_t)((int)ldexp(fraction, 11) - 1024));
}

Test(half, every_f16_widens_to_what_it_means_and_comes_back, .timeout = 30)
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint16_t half = (uint16_t)bits;
        float wide = swi_f16_to_f32(half);
        if ((half & 0x7c00) == 0x7c00) {
            cr_assert_eq(isnan(wide) != 0, (half & 0x3ff) != 0, "%04x", bits);
            cr_assert_eq(isinf(wide) != 0, (half & 0x3ff) == 0, "%04x", bits);
        } else {
            cr_assert((double)wide == meaning_of_f16(half), "%04x", bits);
        }
        cr_assert_eq(signbit(wide) != 0, half >> 15, "%04x", bits);
        uint16_t back = swi_f32_to_f16(wide);
        if (isnan(wide))
            cr_assert((back & 0x7c00) == 0x7c00 && (back & 0x3ff) != 0, "%04x", bits);
        else
            cr_assert_eq(back, half, "%04x", bits);
    }
}

static void check_f16(float value)
{
    cr_assert_eq(swi_f32_to_f16(value), nearest_f16(value), "%a: %04x, expected %04x",
                 (double)value, swi_f32_to_f16(value), nearest_f16(value));
}

Test(half, rounds_to_nearest_even_around_every_midpoint, .timeout = 30)
{
    for (uint16_t half = 0; half < 0x7c00; half++) {
        float low = swi_f16_to_f32(half);
        float high = half == 0x7bff ? 65536.0f : swi_f16_to_f32((uint16_t)(half + 1));
        float middle = (low + high) / 2; /* exact: f32 has 13 bits more */
        float near[] = {low,    nextafterf(low, 1e9f),    nextafterf(middle, 0),
                        middle, nextafterf(middle, 1e9f), nextafterf(high, 0)};
        for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
            check_f16(near[i]);
            check_f16(-near[i]);
        }
    }
}

#if defined __FLT16_MANT_DIG__ && (!defined __clang__ || __clang_major__ >= 15)
__extension__ typedef _Float16 compiler_f16;
#define HAVE_COMPILER_F16
#endif

Test(half, agrees_on_millions_of_floats, .timeout = 60)
{
    uint64_t state = 1;
    for (int i = 0; i < 4000000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        float value = float_of((uint32_t)(state >> 32));
        if (isnan(value))
            continue;
        check_f16(value);
#ifdef HAVE_COMPILER_F16
        compiler_f16 narrow = (compiler_f16)value;
        uint16_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        cr_assert_eq(swi_f32_to_f16(value), bits, "%a", (double)value);
#endif
    }
}

Test(half, bf16_rounds_to_nearest_even_and_keeps_nan, .timeout = 60)
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint16_t narrow = (uint16_t)bits;
        float wide = swi_bf16_to_f32(narrow);
        if (isnan(wide)) {
            cr_assert(isnan(swi_bf16_to_f32(swi_f32_to_bf16(wide))), "%04x", bits);
            continue;
        }
        cr_assert_eq(swi_f32_to_bf16(wide), narrow, "%04x", bits);
        if ((narrow & 0x7fff) >= 0x7f80)
            continue;
        /* the 65536 floats from this one on belong to it up to the middle, then to the next; the
         * middle itself to the even one */
        uint32_t low = bits << 16;
        cr_assert_eq(swi_f32_to_bf16(float_of(low + 0x7fff)), narrow, "%04x", bits);
        cr_assert_eq(swi_f32_to_bf16(float_of(low + 0x8001)), (uint16_t)(narrow + 1), "%04x", bits);
        cr_assert_eq(swi_f32_to_bf16(float_of(low + 0x8000)),
                     narrow & 1 ? (uint16_t)(narrow + 1) : narrow, "%04x", bits);
    }
    /* a NaN whose high bits alone would read as infinity */
    cr_assert(isnan(swi_bf16_to_f32(swi_f32_to_bf16(float_of(0x7f800001)))));
    cr_assert(isnan(swi_f16_to_f32(swi_f32_to_f16(float_of(0x7f800001)))));
}

/* ---- panels ---------------------------------------------------------------------------------- */

static void check_panels(uint64_t n, uint64_t k, size_t element)
{
    uint64_t elements = swi_panel_elements(n, k);
    cr_assert_eq(elements, (n + 15) / 16 * 16 * k);
    unsigned char *rows = malloc(n * k * element);
    unsigned char *panels = malloc(elements * element);
    cr_assert(rows && panels);
    for (uint64_t i = 0; i < n * k * element; i++)
        rows[i] = (unsigned char)(i * 131 + i / 251 + 1);
    memset(panels, 0xee, elements * element);
    swi_panel_from_rows(panels, rows, n, k, element);
    static const unsigned char zeros[4];
    for (uint64_t i = 0; i < elements; i++) {
        uint64_t row = i / (16 * k) * 16 + i % 16, column = i / 16 % k;
        const unsigned char *expected = row < n ? rows + (row * k + column) * element : zeros;
        cr_assert_eq(memcmp(panels + i * element, expected, element), 0, "n %d k %d element %d",
                     (int)n, (int)k, (int)i);
    }
    free(rows);
    free(panels);
}

Test(panel, holds_every_element_where_the_layout_says, .timeout = 30)
{
    static const uint64_t sizes[] = {1, 2, 15, 16, 17, 31, 32, 33, 120};
    for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++)
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            check_panels(sizes[n], sizes[k], 2);
            check_panels(sizes[n], sizes[k], 4);
        }
}

/* ---- sizes ----------------------------------------------------------------------------------- */

Test(size, reads_what_people_write, .timeout = 10)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"512", 512ull << 20}, {"512M", 512ull << 20}, {"2G", 2ull << 30},     {"64K", 64ull << 10},
        {"1.5G", 3ull << 29},  {"4096B", 4096},        {"1T", 1ull << 40},     {"0.5K", 512},
        {"2g", 2ull << 30},    {"3m", 3ull << 20},     {"7k", 7ull << 10},     {"64", 64ull << 20},
        {"64M", 64ull << 20},  {"64MB", 64ull << 20},  {"64MiB", 64ull << 20}, {"2GB", 2ull << 30},
        {"2GiB", 2ull << 30},  {"8KiB", 8ull << 10},   {"1TB", 1ull << 40},
    };
    static const char *const bad[] = {"",     "0",      "-1",   "+1",    " 1",    "1 ",
                                      "G",    "1Gb",    "1GBB", "1GiBs", "1GM",   "1iB",
                                      "1BB",  "1e9999", "nan",  "inf",   "1.2.3", "0B",
                                      "0.1B", "1e30T",  "12X",  "0x10",  "1e3",   "1 G"};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        bytes = 0;
        cr_assert(swi_size_parse(good[i].text, &bytes), "%s", good[i].text);
        cr_assert_eq(bytes, good[i].bytes, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        bytes = 4711;
        cr_assert_not(swi_size_parse(bad[i], &bytes), "\"%s\"", bad[i]);
        cr_assert_eq(bytes, 4711);
    }
}

Test(size, writes_for_people, .timeout = 10)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {17, "17 B"},
        {1536, "1.5 KiB"},
        {832 << 10, "832 KiB"},
        {3ull << 29, "1.5 GiB"},
        {UINT64_MAX, "16.0 EiB"},
    };
    char text[32];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        swi_size_format(cases[i].bytes, text, sizeof text);
        cr_assert_str_eq(text, cases[i].text);
    }
    char small[4];
    swi_size_format(832 << 10, small, sizeof small);
    cr_assert_str_eq(small, "832", "cut to the room there is");
}

/* ---- digests --------------------------------------------------------------------------------- */

Test(digest, is_xxh3_128_in_canonical_hex, .timeout = 10)
{
    /* XXH3's published result for no input and seed 0 */
    char text[SWI_DIGEST_HEX];
    swi_digest_format(swi_digest_of("", 0), text);
    cr_assert_str_eq(text, "99aa06d3014798d86001c324468d497f");
}

Test(digest, does_not_depend_on_how_the_bytes_arrive, .timeout = 10)
{
    static unsigned char data[100000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * i >> 3);
    struct swi_digest whole = swi_digest_of(data, sizeof data);
    swi_hasher *hasher = swi_hasher_create();
    cr_assert_not_null(hasher);
    static const size_t steps[] = {1, 63, 64, 65, 4096, sizeof data};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        swi_hasher_reset(hasher);
        for (size_t at = 0; at < sizeof data; at += steps[i])
            swi_hasher_update(hasher, data + at,
                              sizeof data - at < steps[i] ? sizeof data - at : steps[i]);
        cr_assert(swi_digest_equal(swi_hasher_digest(hasher), whole), "steps of %zu", steps[i]);
    }
    swi_hasher_destroy(hasher);
    data[sizeof data / 2] ^= 1;
    cr_assert_not(swi_digest_equal(swi_digest_of(data, sizeof data), whole), "one bit differs");
}

Test(digest, text_goes_both_ways_and_nothing_else_is_read, .timeout = 10)
{
    struct swi_digest digest = {.low = 0x0123456789abcdef, .high = 0xfedcba9876543210}, back;
    char text[SWI_DIGEST_HEX];
    swi_digest_format(digest, text);
    cr_assert_str_eq(text, "fedcba98765432100123456789abcdef");
    cr_assert(swi_digest_parse(text, &back) && swi_digest_equal(digest, back));
    cr_assert(swi_digest_parse("FEDCBA98765432100123456789ABCDEF", &back) &&
              swi_digest_equal(digest, back));
    static const char *const bad[] = {"",
                                      "f",
                                      "fedcba98765432100123456789abcde",
                                      "fedcba98765432100123456789abcdef0",
                                      "fedcba98765432100123456789abcdeg",
                                      "0xdcba98765432100123456789abcdef",
                                      " edcba98765432100123456789abcdef"};
    struct swi_digest untouched = digest;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(swi_digest_parse(bad[i], &untouched), "\"%s\"", bad[i]);
        cr_assert(swi_digest_equal(untouched, digest));
    }
}

/* ---- errors ---------------------------------------------------------------------------------- */

Test(strerror, knows_every_code_of_both_kinds, .timeout = 10)
{
    for (int code = SW_EBUSY; code >= SW_EDISCONNECTED; code--) {
        cr_assert_str_neq(sw_strerror(code), "unknown error", "%d", code);
        for (int other = code - 1; other >= SW_EDISCONNECTED; other--)
            cr_assert_str_neq(sw_strerror(code), sw_strerror(other), "%d and %d", code, other);
    }
    cr_assert_str_eq(sw_strerror(-ENOENT), strerror(ENOENT));
    cr_assert_str_eq(sw_strerror(-EIO), strerror(EIO));
    cr_assert_str_eq(sw_strerror(0), "success");
    static const int strange[] = {
        -5000, SW_EDISCONNECTED - 1, -100000, INT_MIN, INT_MIN + 1, 1, INT_MAX, -4999};
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++)
        cr_assert(sw_strerror(strange[i]) && strlen(sw_strerror(strange[i])) > 5, "%d", strange[i]);
}

Test(error, messages_grow_in_front_and_stay_inside, .timeout = 10)
{
    struct swi_error error = {0};
    cr_assert_eq(swi_fail(&error, -EIO, "tensor %s", "x"), -EIO);
    cr_assert_eq(swi_fail_within(&error, -EIO, "%s: ", "layer_3.safetensors"), -EIO);
    cr_assert_str_eq(error.text, "layer_3.safetensors: tensor x");
    cr_assert_eq(error.code, -EIO);
    cr_assert_eq(swi_fail(NULL, -EIO, "nobody listens"), -EIO);
    cr_assert_eq(swi_fail_within(NULL, -EIO, "nobody listens"), -EIO);
    char prefix[2 * SWI_ERROR_TEXT];
    memset(prefix, 'p', sizeof prefix - 1);
    prefix[sizeof prefix - 1] = 0;
    (void)swi_fail_within(&error, -EIO, "%s", prefix);
    cr_assert_eq(strlen(error.text), SWI_ERROR_TEXT - 1);
}

/* ---- large memory ---------------------------------------------------------------------------- */

Test(big, memory_of_every_size_is_zeroed_and_goes_back, .timeout = 30)
{
    static const size_t sizes[] = {0, 1, 4096, (512 << 10) - 1, 512 << 10, 3 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int round = 0; round < 3; round++) { /* what was written before does not show */
            struct swi_huge big;
            cr_assert_eq(swi_huge_take(sizes[i], &big), 0);
            cr_assert_eq(big.bytes, sizes[i]);
            cr_assert_geq(swi_huge_held(&big), sizes[i]);
            cr_assert_eq((uintptr_t)big.start % 64, 0);
            const unsigned char *bytes = big.start;
            for (size_t at = 0; at < sizes[i]; at++)
                cr_assert_eq(bytes[at], 0, "byte %zu of %zu", at, sizes[i]);
            memset(big.start, 0xa5, sizes[i]);
            swi_huge_give(&big);
            cr_assert_null(big.start);
            swi_huge_give(&big);
        }
    }
    struct swi_huge big;
    cr_assert_eq(swi_huge_take(SIZE_MAX, &big), -ENOMEM);
}
