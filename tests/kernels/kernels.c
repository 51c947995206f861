/* SPDX-License-Identifier: MIT */
/* The vector kernels of every instruction set that this CPU has, against the definitions in double. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/half.h"
#include "kernels/kernels.h"

#define EACH_TABLE(k)                                                                              \
    for (unsigned t_ = 0; swi_kernels_at(t_); t_++)                                                \
        for (const struct swi_kernels *k = swi_kernels_at(t_); k; k = NULL)

/* Distance in units of the last place of the true value. */
static double ulps(float got, double want)
{
    float nearest = fabsf((float)want);
    if (nearest < 1.17549435e-38f)
        nearest = 1.17549435e-38f;
    double unit = (double)(nextafterf(nearest, INFINITY) - nearest);
    return fabs((double)got - want) / unit;
}

/* The worst over a sweep of [low, high], through the vector path. */
static double worst_ulps(void (*f)(float *, const float *, size_t), double (*reference)(double),
                         double low, double high)
{
    enum { BATCH = 1021 };
    float in[BATCH], out[BATCH];
    double worst = 0;
    for (int sweep = 0; sweep < 400; sweep++) {
        for (int i = 0; i < BATCH; i++)
            in[i] = (float)(low + (high - low) * ((double)(sweep * BATCH + i) / (400 * BATCH - 1)));
        f(out, in, BATCH);
        for (int i = 0; i < BATCH; i++)
            worst = fmax(worst, ulps(out[i], reference((double)in[i])));
    }
    return worst;
}

Test(kernels, exp_is_within_two_ulps, .timeout = 60)
{
    EACH_TABLE(k)
    {
        double worst = worst_ulps(k->exp, exp, -87.3, 88.0);
        cr_expect(worst <= 2.0, "%s: %.2f ulps", k->name, worst);
        float edge[3] = {-88.0f, -INFINITY, 0.0f};
        k->exp(edge, edge, 3);
        cr_expect(edge[0] == 0.0f && edge[1] == 0.0f && edge[2] == 1.0f, "%s", k->name);
    }
}

Test(kernels, erf_is_within_six_ulps, .timeout = 60)
{
    EACH_TABLE(k)
    {
        double near = worst_ulps(k->erf, erf, -1.0, 1.0), far = worst_ulps(k->erf, erf, -6.0, 6.0);
        cr_expect(fmax(near, far) <= 6.0, "%s: %.2f, %.2f ulps", k->name, near, far);
    }
}

Test(kernels, tanh_is_within_six_ulps, .timeout = 60)
{
    EACH_TABLE(k)
    {
        double near = worst_ulps(k->tanh, tanh, -1.0, 1.0);
        double far = worst_ulps(k->tanh, tanh, -12.0, 12.0);
        cr_expect(fmax(near, far) <= 6.0, "%s: %.2f, %.2f ulps", k->name, near, far);
    }
}

static double gelu(double x)
{
    return 0.5 * x * (1.0 + erf(x * sqrt(0.5)));
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

Test(kernels, gelu_is_its_definition, .timeout = 60)
{
    EACH_TABLE(k)
    {
        double worst[2] = {0, 0};
        for (int i = -80000; i <= 80000; i += 7) {
            float x = (float)i * 1e-4f, y[2];
            k->activate(&y[0], &x, 1, SWI_ACT_GELU);
            k->activate(&y[1], &x, 1, SWI_ACT_GELU_TANH);
            double scale = fmax(1e-3, fabs((double)x));
            worst[0] = fmax(worst[0], fabs((double)y[0] - gelu((double)x)) / scale);
            worst[1] = fmax(worst[1], fabs((double)y[1] - gelu_tanh((double)x)) / scale);
        }
        /* 1 + erf cancels for negative x: the error is relative to x, as in every float GELU */
        cr_expect(worst[0] < 3e-7, "%s: erf form %.2g", k->name, worst[0]);
        cr_expect(worst[1] < 3e-7, "%s: tanh form %.2g", k->name, worst[1]);
    }
}

Test(kernels, relu_and_none_are_exact, .timeout = 10)
{
    EACH_TABLE(k)
    {
        float in[5] = {-1.5f, 0.0f, 2.5f, -0.0f, 1e30f}, out[5];
        k->activate(out, in, 5, SWI_ACT_RELU);
        cr_expect(out[0] == 0 && out[1] == 0 && out[2] == 2.5f && out[3] == 0 && out[4] == 1e30f);
        k->activate(out, in, 5, SWI_ACT_NONE);
        cr_expect(!memcmp(in, out, sizeof in));
    }
}

Test(kernels, an_element_does_not_depend_on_its_place, .timeout = 10)
{
    EACH_TABLE(k)
    {
        float in[37], whole[37], alone;
        for (int i = 0; i < 37; i++)
            in[i] = (float)(i - 20) * 0.37f;
        for (int a = SWI_ACT_NONE; a <= SWI_ACT_TANH; a++) {
            k->activate(whole, in, 37, (enum swi_activation)a);
            for (int i = 0; i < 37; i++) {
                k->activate(&alone, &in[i], 1, (enum swi_activation)a);
                cr_expect(!memcmp(&alone, &whole[i], sizeof alone), "%s, %d, %d", k->name, a, i);
            }
        }
    }
}

static const size_t lengths[] = {1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 33, 48, 120, 128, 384, 770};
#define LENGTHS (sizeof lengths / sizeof lengths[0])

static void fill(float *x, size_t n, float offset)
{
    uint32_t state = 12345u + (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-22f - 2.0f + offset;
    }
}

Test(kernels, layer_norm_is_its_definition, .timeout = 10)
{
    EACH_TABLE(k)
    {
        for (size_t l = 0; l < LENGTHS; l++) {
            size_t n = lengths[l];
            float x[800], gamma[800], beta[800], out[800];
            fill(x, n, 3.0f);
            fill(gamma, n, 0.5f);
            fill(beta, n, 0.1f);
            k->layer_norm(out, x, gamma, beta, n, 1e-12f);
            double mean = 0, variance = 0;
            for (size_t i = 0; i < n; i++)
                mean += (double)x[i] / (double)n;
            for (size_t i = 0; i < n; i++)
                variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
            for (size_t i = 0; i < n && n > 1; i++) {
                double want = ((double)x[i] - mean) / sqrt(variance + 1e-12) * (double)gamma[i] +
                              (double)beta[i];
                cr_expect(fabs((double)out[i] - want) < 4e-6, "%s n %zu i %zu: %g %g", k->name, n,
                          i, (double)out[i], want);
            }
        }
    }
}

Test(kernels, softmax_is_stable_and_ends_at_its_size, .timeout = 10)
{
    static const size_t widths[] = {4, 8, 16, 32};
    EACH_TABLE(k)
    {
        for (size_t l = 0; l < 2 * LENGTHS * 4; l++) {
            size_t n = lengths[l / 8] % 200 + 1, width = widths[l / 2 % 4];
            bool masked = l % 2 && n > 1;
            static float x[201 * 32], s[201 * 32 + 1];
            uint8_t mask[201];
            float sums[33];
            fill(x, n * width, 900.0f); /* 2^900 overflows: the largest must be taken off first */
            memcpy(s, x, n * width * sizeof *x);
            s[n * width] = sums[width] = 42.0f;
            for (size_t r = 0; r < n; r++)
                mask[r] = r % 3 ? 255 : 0;
            k->softmax(s, n, width, masked ? mask : NULL, sums);
            for (size_t c = 0; c < width; c++) {
                double most = -1e9, total = 0;
                for (size_t r = 0; r < n; r++)
                    if (!masked || mask[r])
                        most = fmax(most, (double)x[r * width + c]);
                for (size_t r = 0; r < n; r++) {
                    double want = masked && !mask[r] ? 0 : exp2((double)x[r * width + c] - most);
                    total += want;
                    cr_expect(fabs((double)s[r * width + c] - want) < 2e-7);
                }
                cr_expect(fabs((double)sums[c] / total - 1.0) < 1e-6, "%s n %zu", k->name, n);
            }
            cr_expect(s[n * width] == 42.0f && sums[width] == 42.0f, "%s wrote past", k->name);
        }
    }
}

Test(kernels, softmax_gives_hidden_keys_nothing_and_equals_when_all_are, .timeout = 10)
{
    EACH_TABLE(k)
    {
        float s[3 * 16], sums[16];
        const uint8_t some[3] = {1, 0, 1}, none[3] = {0, 0, 0};
        for (int i = 0; i < 48; i++)
            s[i] = i < 16 || i >= 32 ? 1.0f : 1e30f;
        k->softmax(s, 3, 16, some, sums);
        for (int i = 0; i < 16; i++)
            cr_expect(s[i] == 1.0f && s[16 + i] == 0.0f && s[32 + i] == 1.0f && sums[i] == 2.0f);
        k->softmax(s, 3, 16, none, sums);
        for (int i = 0; i < 16; i++)
            cr_expect(s[i] == 1.0f && s[16 + i] == 1.0f && s[32 + i] == 1.0f && sums[i] == 3.0f);
    }
}

Test(kernels, widening_is_exact_for_every_half, .timeout = 60)
{
    static uint16_t in[65536];
    static float out[65536];
    for (unsigned i = 0; i < 65536; i++)
        in[i] = (uint16_t)i;
    EACH_TABLE(k)
    {
        k->widen(out, in, 65536, SW_DTYPE_F16);
        for (unsigned i = 0; i < 65536; i++) {
            float want = swi_f16_to_f32((uint16_t)i);
            cr_assert(isnan(want) ? isnan(out[i]) : !memcmp(&want, &out[i], 4), "%s %04x", k->name,
                      i);
        }
        k->widen(out, in, 65536, SW_DTYPE_BF16);
        for (unsigned i = 0; i < 65536; i++) {
            float want = swi_bf16_to_f32((uint16_t)i);
            cr_assert(isnan(want) ? isnan(out[i]) : !memcmp(&want, &out[i], 4), "%s %04x", k->name,
                      i);
        }
        for (size_t l = 0; l < LENGTHS; l++) { /* tails */
            size_t n = lengths[l];
            for (size_t i = 0; i <= n; i++)
                out[i] = 1.0f;
            k->widen_add(out, in + 0x3c00, n, SW_DTYPE_F16);
            for (size_t i = 0; i < n; i++)
                cr_assert_eq(out[i], 1.0f + swi_f16_to_f32((uint16_t)(0x3c00 + i)));
            cr_assert_eq(out[n], 1.0f);
        }
    }
}

Test(kernels, interleave_transposes_any_width, .timeout = 10)
{
    static const size_t widths[] = {1, 2, 3, 4, 6, 8, 12, 16, 23, 24, 32, 5};
    EACH_TABLE(k)
    {
        for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
            size_t width = widths[w];
            for (size_t rows = 1; rows <= width; rows += 3) {
                enum { K = 23, STRIDE = 29, OUT = 40 };
                float in[32 * STRIDE], out[K * OUT + 1];
                uint16_t halves[32 * STRIDE];
                for (size_t i = 0; i < 32 * STRIDE; i++) {
                    in[i] = (float)i;
                    halves[i] = swi_f32_to_bf16((float)(i % 128));
                }
                for (size_t i = 0; i <= K * OUT; i++)
                    out[i] = -1.0f;
                k->interleave(out, OUT, in, STRIDE, rows, K, width);
                for (size_t c = 0; c < K; c++)
                    for (size_t r = 0; r < OUT; r++)
                        cr_assert_eq(out[c * OUT + r],
                                     r < width ? in[(r < rows ? r : rows - 1) * STRIDE + c]
                                               : -1.0f);
                k->interleave_any(out, halves, STRIDE, rows, K, width, SW_DTYPE_BF16);
                for (size_t c = 0; c < K; c++)
                    for (size_t r = 0; r < rows; r++)
                        cr_assert_eq(out[c * width + r], (float)((r * STRIDE + c) % 128));
                cr_assert_eq(out[K * OUT], -1.0f, "%s wrote past its end", k->name);
            }
        }
    }
}

/* x[rows, k] → strips [rows, 16] of columns */
static void strips_of(const float *x, size_t rows, size_t k, float *out)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < k; i++)
            out[(i / 16 * rows + r) * 16 + i % 16] = x[r * k + i];
}

/* every height × number of panels × type × order of tokens of every instruction set's tiles */
Test(kernels, tiles_are_their_definition_and_agree_to_the_bit, .timeout = 60)
{
    enum { K = 70, STRIDE = 20, ROWS = 24, PANELS = SWI_TILE_PANELS_MAX };
    static _Alignas(64) float features[PANELS][K * 16], tokens[ROWS * K];
    static _Alignas(64) float packed[ROWS * (K + 15) / 16 * 16], columns[ROWS * K];
    static _Alignas(64) float c[PANELS][ROWS * STRIDE + 1];
    static _Alignas(64) uint16_t halves[2][PANELS][K * 16];
    static float first[PANELS][ROWS][16];
    fill(tokens, ROWS * K, 0.0f);
    for (size_t p = 0; p < PANELS; p++)
        fill(features[p], K * 16, (float)p * 0.25f);
    for (size_t at = 0; at < PANELS * K * 16; at++) {
        size_t p = at / (K * 16), i = at % (K * 16);
        halves[1][p][i] = swi_f32_to_bf16(features[p][i]);
        features[p][i] = swi_bf16_to_f32(halves[1][p][i]);
        halves[0][p][i] = swi_f32_to_f16(features[p][i]); /* bf16 has fewer digits: exact */
    }
    EACH_TABLE(k)
    {
        uint32_t most = k->tiler ? k->tiler->rows * k->tiler->panels * 3 : 0;
        for (uint32_t each = 0; each < most; each++) {
            uint32_t dtype = each % 3, panels = each / 3 % k->tiler->panels + 1;
            uint32_t rows = each / 3 / k->tiler->panels + 1;
            cr_assert(rows < ROWS && panels <= PANELS);
            strips_of(tokens, rows, K, packed);
            struct swi_tile tile = {.tokens = packed,
                                    .strip = rows * 16,
                                    .stride = STRIDE,
                                    .k = K,
                                    .rows = rows,
                                    .panels = panels,
                                    .scale = 0.25f,
                                    .dtype = (enum sw_dtype)dtype,
                                    .add = true};
            for (uint32_t p = 0; p < PANELS; p++) {
                for (size_t i = 0; i <= ROWS * STRIDE; i++)
                    c[p][i] = 0.5f;
                tile.c[p] = c[p];
                tile.ahead[p] = (const char *)packed;
                tile.features[p] =
                    dtype ? (const void *)halves[dtype - 1][p] : (const void *)features[p];
            }
            k->tiler->run(&tile);
            for (size_t at = 0; at < panels * rows * 16; at++) {
                size_t p = at / 16 / rows, r = at / 16 % rows, f = at % 16;
                double want = 2.0; /* 0.5 / 0.25 */
                for (size_t i = 0; i < K; i++)
                    want += (double)tokens[r * K + i] * (double)features[p][i * 16 + f];
                float got = c[p][r * STRIDE + f];
                cr_assert(fabs((double)got - want * 0.25) < 2e-5, "%s %u rows", k->name, rows);
                if (dtype == 0 && r + 1 == rows && p + 1 == panels) /* for the first time */
                    first[p][r][f] = got;
                cr_assert(!memcmp(&first[p][r][f], &got, sizeof got),
                          "%s %u rows of %u panels of type %u", k->name, rows, panels, dtype);
            }
            for (uint32_t p = 0; p < PANELS; p++) {
                bool used = p < panels;
                cr_assert_eq(c[p][used ? (rows - 1) * STRIDE + 16 : 0], 0.5f, "past the row");
                cr_assert_eq(c[p][rows * STRIDE], 0.5f, "wrote past the tile");
            }
            if (panels > 1 || dtype != SW_DTYPE_F32)
                continue;
            static _Alignas(64) float other[ROWS * STRIDE + 1]; /* rows side by side: the same */
            for (size_t i = 0; i <= ROWS * STRIDE; i++)
                other[i] = 0.5f;
            k->interleave(columns, rows, tokens, K, rows, K, rows);
            tile.tokens = columns, tile.strip = 0, tile.c[0] = other;
            k->tiler->run(&tile);
            cr_assert(!memcmp(other, c[0], sizeof other), "%s %u rows side by side", k->name, rows);
        }
    }
}
