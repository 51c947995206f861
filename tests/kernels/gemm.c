/* SPDX-License-Identifier: MIT */
/* The GEMM driver against sums in double. The build runs this program under each kind of BLIS
 * micro-kernel. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/panel.h"
#include "kernels/random.h"

struct problem {
    uint32_t tokens, n, k;
    struct swi_matrix weight;
    float *exact; /* [n, k] */
    float *x;     /* [tokens, k] */
    float *packed, *scratch;
};

static struct problem make_problem(uint32_t tokens, uint32_t n, uint32_t k, enum sw_layout layout,
                                   enum sw_dtype dtype)
{
    uint64_t state = 7u + tokens * 31u + n * 17u + k;
    struct problem p = {.tokens = tokens, .n = n, .k = k};
    p.weight = random_matrix(&state, n, k, layout, dtype, &p.exact);
    p.x = random_floats(&state, (size_t)tokens * k, 1.0f);
    p.packed = aligned_bytes(swi_gemm_packed_floats(tokens, k) * sizeof(float));
    p.scratch = aligned_bytes(swi_gemm_scratch_floats() * sizeof(float));
    swi_gemm_pack(&(struct swi_gemm_input){.x = p.x, .stride = k, .tokens = tokens, .k = k}, 0,
                  swi_gemm_tiling(tokens).count, p.packed);
    return p;
}

static void free_problem(struct problem *p)
{
    free_matrix(&p->weight);
    free(p->exact);
    free(p->x);
    free(p->packed);
    free(p->scratch);
}

static double dot(const struct problem *p, uint32_t token, uint32_t feature)
{
    double sum = 0;
    for (uint32_t i = 0; i < p->k; i++)
        sum +=
            (double)p->x[(size_t)token * p->k + i] * (double)p->exact[(size_t)feature * p->k + i];
    return sum;
}

static struct swi_gemm_job job_of(const struct problem *p, float *out)
{
    return (struct swi_gemm_job){.packed = p->packed,
                                 .tokens = p->tokens,
                                 .weight = p->weight,
                                 .out = out,
                                 .out_stride = p->n};
}

static void expect_right(const struct problem *p, const float *out, const char *what)
{
    double worst = 0, scale = sqrt((double)p->k) * 0.1;
    for (uint32_t t = 0; t < p->tokens; t++)
        for (uint32_t f = 0; f < p->n; f++)
            worst = fmax(worst, fabs((double)out[(size_t)t * p->n + f] - dot(p, t, f)));
    cr_expect(worst < 2e-6 * scale, "%s: %u x %u x %u off by %g", what, p->tokens, p->n, p->k,
              worst);
}

static const uint32_t shapes[][2] = {{16, 32}, {1, 7},    {120, 120}, {360, 120},
                                     {33, 65}, {50, 800}, {300, 513}, {312, 1200}};
static const uint32_t token_counts[] = {1, 2, 5, 6, 7, 13, 29};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void check_form(enum sw_layout layout, enum sw_dtype dtype)
{
    for (size_t s = 0; s < COUNT(shapes); s++) {
        for (size_t t = 0; t < COUNT(token_counts); t++) {
            struct problem p =
                make_problem(token_counts[t], shapes[s][0], shapes[s][1], layout, dtype);
            float *out = aligned_bytes(((size_t)p.tokens * p.n + 1) * sizeof(float));
            out[(size_t)p.tokens * p.n] = 42.0f;
            struct swi_gemm_job job = job_of(&p, out);
            swi_gemm(&job, 0, swi_gemm_panels(p.n), p.scratch);
            expect_right(&p, out, sw_layout_name(layout));
            cr_expect(out[(size_t)p.tokens * p.n] == 42.0f, "wrote past the end");
            free(out);
            free_problem(&p);
        }
    }
}

Test(gemm, panels_of_f32, .timeout = 60)
{
    check_form(SW_LAYOUT_PANEL, SW_DTYPE_F32);
}
Test(gemm, panels_of_f16, .timeout = 60)
{
    check_form(SW_LAYOUT_PANEL, SW_DTYPE_F16);
}
Test(gemm, panels_of_bf16, .timeout = 60)
{
    check_form(SW_LAYOUT_PANEL, SW_DTYPE_BF16);
}
Test(gemm, rows_of_f32, .timeout = 60)
{
    check_form(SW_LAYOUT_ROWS, SW_DTYPE_F32);
}
Test(gemm, rows_of_f16, .timeout = 60)
{
    check_form(SW_LAYOUT_ROWS, SW_DTYPE_F16);
}
Test(gemm, rows_of_bf16, .timeout = 60)
{
    check_form(SW_LAYOUT_ROWS, SW_DTYPE_BF16);
}

Test(gemm, a_whole_block_of_tokens, .timeout = 60)
{
    struct problem p =
        make_problem(swi_gemm_shape()->token_block, 96, 900, SW_LAYOUT_PANEL, SW_DTYPE_F32);
    float *out = aligned_bytes((size_t)p.tokens * p.n * sizeof(float));
    struct swi_gemm_job job = job_of(&p, out);
    swi_gemm(&job, 0, swi_gemm_panels(p.n), p.scratch);
    expect_right(&p, out, "block");
    free(out);
    free_problem(&p);
}

/* a chunk's last tensor may end where the arena's mapping does */
Test(gemm, nothing_behind_the_weights_is_read, .timeout = 60)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    static const enum sw_dtype dtypes[] = {SW_DTYPE_F32, SW_DTYPE_F16, SW_DTYPE_BF16};
    for (size_t i = 0; i < 2 * COUNT(dtypes) * COUNT(shapes); i++) {
        const uint32_t *shape = shapes[i / 2 / COUNT(dtypes)];
        enum sw_layout layout = i % 2 ? SW_LAYOUT_PANEL : SW_LAYOUT_ROWS;
        struct problem p =
            make_problem(7, shape[0], shape[1], layout, dtypes[i / 2 % COUNT(dtypes)]);
        size_t elements =
            layout == SW_LAYOUT_PANEL ? swi_panel_elements(p.n, p.k) : (size_t)p.n * p.k;
        size_t bytes = elements * sw_dtype_size(p.weight.dtype);
        size_t room = (bytes + page - 1) / page * page;
        char *pages =
            mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(pages, MAP_FAILED);
        cr_assert_eq(mprotect(pages + room, page, PROT_NONE), 0);
        float *out = aligned_bytes((size_t)p.tokens * p.n * sizeof(float));
        struct swi_gemm_job job = job_of(&p, out);
        size_t start = (room - bytes) / 64 * 64;
        job.weight.data = memcpy(pages + start, p.weight.data, bytes);
        swi_gemm(&job, 0, swi_gemm_panels(p.n), p.scratch);
        expect_right(&p, out, sw_layout_name(layout));
        cr_assert_eq(munmap(pages, room + page), 0);
        free(out);
        free_problem(&p);
    }
}

Test(gemm, layouts_agree_to_the_bit, .timeout = 60)
{
    uint32_t n = 200, k = 1100, tokens = 19;
    struct problem rows = make_problem(tokens, n, k, SW_LAYOUT_ROWS, SW_DTYPE_F16);
    struct problem panels = make_problem(tokens, n, k, SW_LAYOUT_PANEL, SW_DTYPE_F16);
    struct problem wide = make_problem(tokens, n, k, SW_LAYOUT_PANEL, SW_DTYPE_F32);
    swi_panel_from_rows((void *)(uintptr_t)wide.weight.data, rows.exact, n, k, sizeof(float));
    float *out[3];
    struct problem *all[3] = {&rows, &panels, &wide};
    for (int i = 0; i < 3; i++) {
        out[i] = aligned_bytes((size_t)tokens * n * sizeof(float));
        struct swi_gemm_job job = job_of(all[i], out[i]);
        swi_gemm(&job, 0, swi_gemm_panels(n), all[i]->scratch);
    }
    cr_expect(!memcmp(out[0], out[1], (size_t)tokens * n * sizeof(float)),
              "rows and panels differ");
    cr_expect(!memcmp(out[0], out[2], (size_t)tokens * n * sizeof(float)), "f16 and f32 differ");
    for (int i = 0; i < 3; i++) {
        free(out[i]);
        free_problem(all[i]);
    }
}

Test(gemm, a_token_does_not_depend_on_its_neighbours, .timeout = 60)
{
    struct problem p = make_problem(40, 150, 1700, SW_LAYOUT_PANEL, SW_DTYPE_F32);
    float *together = aligned_bytes((size_t)p.tokens * p.n * sizeof(float));
    struct swi_gemm_job job = job_of(&p, together);
    swi_gemm(&job, 0, swi_gemm_panels(p.n), p.scratch);
    static const uint32_t parts[][2] = {{0, 1}, {3, 1}, {39, 1}, {5, 6}, {7, 30}};
    for (size_t i = 0; i < COUNT(parts); i++) {
        uint32_t first = parts[i][0], count = parts[i][1];
        struct swi_gemm_input input = {
            .x = p.x + (size_t)first * p.k, .stride = p.k, .tokens = count, .k = p.k};
        swi_gemm_pack(&input, 0, swi_gemm_tiling(count).count, p.packed);
        float *alone = aligned_bytes((size_t)count * p.n * sizeof(float));
        struct swi_gemm_job part = job_of(&p, alone);
        part.tokens = count;
        swi_gemm(&part, 0, swi_gemm_panels(p.n), p.scratch);
        cr_expect(
            !memcmp(alone, together + (size_t)first * p.n, (size_t)count * p.n * sizeof(float)),
            "tokens %u + %u", first, count);
        free(alone);
    }
    free(together);
    free_problem(&p);
}

Test(gemm, ranges_of_panels_and_tiles_make_the_same_bits, .timeout = 60)
{
    struct problem p = make_problem(25, 250, 900, SW_LAYOUT_PANEL, SW_DTYPE_BF16);
    float *whole = aligned_bytes((size_t)p.tokens * p.n * sizeof(float));
    float *parts = aligned_bytes((size_t)p.tokens * p.n * sizeof(float));
    struct swi_gemm_job job = job_of(&p, whole);
    uint32_t panels = swi_gemm_panels(p.n), tiles = swi_gemm_tiling(p.tokens).count;
    swi_gemm(&job, 0, panels, p.scratch);
    struct swi_gemm_input input = {.x = p.x, .stride = p.k, .tokens = p.tokens, .k = p.k};
    swi_gemm_pack(&input, tiles / 2, tiles, p.packed);
    swi_gemm_pack(&input, 0, tiles / 2, p.packed);
    job.out = parts;
    swi_gemm(&job, panels / 3, panels, p.scratch);
    swi_gemm(&job, 0, panels / 3, p.scratch);
    cr_expect(!memcmp(whole, parts, (size_t)p.tokens * p.n * sizeof(float)));
    free(whole);
    free(parts);
    free_problem(&p);
}

static double activated(double x, enum swi_activation activation)
{
    switch (activation) {
    case SWI_ACT_GELU:
        return 0.5 * x * (1.0 + erf(x * sqrt(0.5)));
    case SWI_ACT_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case SWI_ACT_RELU:
        return fmax(x, 0.0);
    case SWI_ACT_TANH:
        return tanh(x);
    case SWI_ACT_NONE:
        break;
    }
    return x;
}

Test(gemm, bias_activation_and_residual_are_applied_on_the_way_out, .timeout = 60)
{
    struct problem p = make_problem(14, 75, 530, SW_LAYOUT_PANEL, SW_DTYPE_F32);
    uint64_t state = 99;
    uint32_t stride = p.n + 5;
    float *bias = random_floats(&state, p.n, 1.0f);
    float *residual = random_floats(&state, (size_t)p.tokens * stride, 1.0f);
    float *out = aligned_bytes((size_t)p.tokens * stride * sizeof(float));
    for (int a = SWI_ACT_NONE; a <= SWI_ACT_TANH; a++) {
        struct swi_gemm_job job = job_of(&p, out);
        job.bias = bias;
        job.activation = (enum swi_activation)a;
        job.residual = residual;
        job.residual_stride = stride;
        job.out_stride = stride;
        swi_gemm(&job, 0, swi_gemm_panels(p.n), p.scratch);
        double worst = 0;
        for (uint32_t t = 0; t < p.tokens; t++)
            for (uint32_t f = 0; f < p.n; f++) {
                double want = activated(dot(&p, t, f) + (double)bias[f], job.activation) +
                              (double)residual[t * stride + f];
                worst = fmax(worst, fabs((double)out[t * stride + f] - want));
            }
        cr_expect(worst < 5e-6, "activation %d: off by %g", a, worst);
    }
    free(bias);
    free(residual);
    free(out);
    free_problem(&p);
}

Test(gemm, packed_output_is_the_next_input, .timeout = 60)
{
    static const uint32_t widths[] = {64, 75, 500, 1100};
    for (size_t w = 0; w < COUNT(widths); w++) {
        struct problem p = make_problem(20, widths[w], 200, SW_LAYOUT_PANEL, SW_DTYPE_F32);
        float *out = aligned_bytes((size_t)p.tokens * p.n * sizeof(float));
        size_t floats = swi_gemm_packed_floats(p.tokens, p.n);
        float *direct = aligned_bytes(floats * sizeof(float));
        float *repacked = aligned_bytes(floats * sizeof(float));
        memset(direct, 0, floats * sizeof(float)); /* what lies past the last column is nobody's */
        memset(repacked, 0, floats * sizeof(float));
        struct swi_gemm_job job = job_of(&p, out);
        swi_gemm(&job, 0, swi_gemm_panels(p.n), p.scratch);
        swi_gemm_pack(
            &(struct swi_gemm_input){.x = out, .stride = p.n, .tokens = p.tokens, .k = p.n}, 0,
            swi_gemm_tiling(p.tokens).count, repacked);
        job.out = direct;
        job.packed_out = true;
        swi_gemm(&job, 0, swi_gemm_panels(p.n), p.scratch);
        cr_expect(!memcmp(direct, repacked, floats * sizeof(float)), "n %u", p.n);
        free(out);
        free(direct);
        free(repacked);
        free_problem(&p);
    }
}
