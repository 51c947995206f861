/* SPDX-License-Identifier: MIT */
/* The kernels themselves. Included once by each kernels_<instruction set>.c, which defines
 * SWI_LANES (floats in a vector register) and SWI_TABLE (the table's name), and is compiled with
 * that instruction set's flags; a * b + c becomes a fused multiply-add where the set has one.
 *
 * Polynomials: rational or plain minimax fits (iteratively reweighted least squares, in double),
 * then rounded to float. Error of the fit itself, relative: exp 3e-9, erf 2e-8, tanh 2e-8.
 */
#include "kernels/kernels.h"

#include <string.h>

#ifdef __F16C__
#include <immintrin.h>
#endif

#define V SWI_LANES
typedef float vf __attribute__((vector_size(4 * V)));
typedef int32_t vi __attribute__((vector_size(4 * V)));
typedef float v4 __attribute__((vector_size(16)));
typedef int32_t i4 __attribute__((vector_size(16)));

#define INLINE static inline __attribute__((always_inline))

/* ---- moving vectors -------------------------------------------------------------------------- */

INLINE vf load(const float *from)
{
    vf value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE void store(float *to, vf value)
{
    memcpy(to, &value, sizeof value);
}

/* n < V: the missing lanes are 0 */
INLINE vf load_part(const float *from, size_t n)
{
    vf value = {0};
    memcpy(&value, from, n * sizeof(float));
    return value;
}

INLINE void fdstore_part(float *to, vf value, size_t n)
{
    memcpy(to, &value, n * sizeof(float));
}

/* n ≤ V */
INLINE vf load_some(const float *from, size_t n)
{
    return n == V ? load(from) : load_part(from, n);
}

INLINE void store_some(float *to, vf value, size_t n)
{
    if (n == V)
        store(to, value);
    else
        fdstore_part(to, value, n);
}

INLINE vf splat(float value)
{
    return value - (vf){0};
}

INLINE vf pick(vi mask, vf yes, vf no)
{
    return (vf)(((vi)yes & mask) | ((vi)no & ~mask));
}

/* one instruction where the set has it, which compilers do not see in the comparison */
INLINE vf vmin(vf a, vf b)
{
#if V == 16
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif V == 8
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return pick(a < b, a, b);
#endif
}

INLINE vf vmax(vf a, vf b)
{
#if V == 16
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif V == 8
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return pick(a > b, a, b);
#endif
}

/* ---- functions ------------------------------------------------------------------------------- */

/* x = n·ln2 + r; e^r by a polynomial, 2^n by its exponent bits. x ≤ 88; below -87.3: 0. */
INLINE vf exp_of(vf x)
{
    const float round = 0x1.8p23f; /* adding it rounds to an integer in the low bits */
    vi alive = x >= splat(-87.3f);
    vf safe = vmax(x, splat(-87.3f));
    vf shifted = safe * 1.44269504f + round;
    vf n = shifted - round;
    vf r =
        safe - n * 0.693145752f; /* ln 2 in two parts: the first has few bits, so n·it is exact */
    r = r - n * 1.42860677e-6f;
    vf p = r * 1.381459879e-03f + 8.368716575e-03f;
    p = p * r + 4.166838899e-02f;
    p = p * r + 1.666652113e-01f;
    p = p * r + 4.999999404e-01f;
    p = (r * r) * p + r;
    vi scale = ((vi)shifted << 23) + (127 << 23);
    vf result = (p + 1.0f) * (vf)scale;
    return (vf)((vi)result & alive);
}

/* Odd rational function on [-3.925, 3.925], beyond which erf rounds to ±1. */
INLINE vf erf_of(vf x)
{
    x = vmin(vmax(x, splat(-3.925f)), splat(3.925f));
    vf t = x * x;
    vf p = t * 2.046022473e-06f + 2.848448930e-04f;
    p = p * t + 3.772598226e-03f;
    p = p * t + 5.276944861e-02f;
    p = p * t + 1.905948371e-01f;
    p = p * t + 1.128379107e+00f;
    vf q = t * 3.804779408e-05f + 1.163869980e-03f;
    q = q * t + 1.498329360e-02f;
    q = q * t + 1.141831726e-01f;
    q = q * t + 5.022429824e-01f;
    q = q * t + 1.0f;
    return vmin(vmax(x * p / q, splat(-1.0f)), splat(1.0f));
}

/* Odd rational function on [-9.02, 9.02], beyond which tanh rounds to ±1. */
INLINE vf tanh_of(vf x)
{
    x = vmin(vmax(x, splat(-9.02f)), splat(9.02f));
    vf t = x * x;
    vf p = t * 1.331907029e-08f + 2.058348036e-05f;
    p = p * t + 3.494034521e-03f;
    p = p * t + 1.337971836e-01f;
    p = p * t + 1.0f;
    vf q = t * 7.762018868e-07f + 3.283092519e-04f;
    q = q * t + 2.587107196e-02f;
    q = q * t + 4.671303332e-01f;
    q = q * t + 1.0f;
    return vmin(vmax(x * p / q, splat(-1.0f)), splat(1.0f));
}

INLINE vf gelu_of(vf x)
{
    return x * 0.5f * (erf_of(x * 0.707106781f) + 1.0f);
}

INLINE vf gelu_tanh_of(vf x)
{
    vf inner = (x * x * x * 0.044715f + x) * 0.797884561f;
    return x * 0.5f * (tanh_of(inner) + 1.0f);
}

INLINE vf relu_of(vf x)
{
    return (vf)((vi)x & (x > splat(0.0f)));
}

INLINE vf activation_of(vf x, enum swi_activation activation)
{
    switch (activation) {
    case SWI_ACT_GELU:
        return gelu_of(x);
    case SWI_ACT_GELU_TANH:
        return gelu_tanh_of(x);
    case SWI_ACT_RELU:
        return relu_of(x);
    case SWI_ACT_TANH:
        return tanh_of(x);
    case SWI_ACT_NONE:
        break;
    }
    return x;
}

#define MAP(name, function)                                                                        \
    static void name(float *out, const float *in, size_t n)                                        \
    {                                                                                              \
        size_t i = 0;                                                                              \
        for (; i + V <= n; i += V)                                                                 \
            store(out + i, function(load(in + i)));                                                \
        if (i < n)                                                                                 \
            fdstore_part(out + i, function(load_part(in + i, n - i)), n - i);                      \
    }
MAP(map_exp, exp_of)
MAP(map_erf, erf_of)
MAP(map_tanh, tanh_of)
MAP(map_gelu, gelu_of)
MAP(map_gelu_tanh, gelu_tanh_of)
MAP(map_relu, relu_of)

static void activate(float *out, const float *in, size_t n, enum swi_activation activation)
{
    switch (activation) {
    case SWI_ACT_GELU:
        map_gelu(out, in, n);
        return;
    case SWI_ACT_GELU_TANH:
        map_gelu_tanh(out, in, n);
        return;
    case SWI_ACT_RELU:
        map_relu(out, in, n);
        return;
    case SWI_ACT_TANH:
        map_tanh(out, in, n);
        return;
    case SWI_ACT_NONE:
        break;
    }
    if (out != in)
        memmove(out, in, n * sizeof *out);
}

/* ---- rows ------------------------------------------------------------------------------------ */

INLINE float lanes_sum(vf v)
{
    float lane[V];
    memcpy(lane, &v, sizeof lane);
    for (unsigned half = V / 2; half > 0; half /= 2)
        for (unsigned i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

/* Two passes: the variance of differences from the mean, as the definition has it, loses nothing.
 */
static void layer_norm(float *out, const float *in, const float *gamma, const float *beta, size_t n,
                       float epsilon)
{
    size_t whole = n / V * V;
    vf sum0 = {0}, sum1 = {0};
    size_t i = 0;
    for (; i + 2 * V <= whole; i += 2 * V) {
        sum0 += load(in + i);
        sum1 += load(in + i + V);
    }
    if (i < whole)
        sum0 += load(in + i);
    if (whole < n)
        sum1 += load_part(in + whole, n - whole);
    float mean = lanes_sum(sum0 + sum1) / (float)n;

    vf square0 = {0}, square1 = {0};
    for (i = 0; i + 2 * V <= whole; i += 2 * V) {
        vf a = load(in + i) - mean, b = load(in + i + V) - mean;
        square0 += a * a;
        square1 += b * b;
    }
    if (i < whole) {
        vf a = load(in + i) - mean;
        square0 += a * a;
    }
    float squares = lanes_sum(square0 + square1);
    for (i = whole; i < n; i++)
        squares += (in[i] - mean) * (in[i] - mean);
    float scale = 1.0f / __builtin_sqrtf(squares / (float)n + epsilon);

    for (i = 0; i < whole; i += V)
        store(out + i, (load(in + i) - mean) * scale * load(gamma + i) + load(beta + i));
    if (whole < n) {
        size_t rest = n - whole;
        vf x = load_part(in + whole, rest), g = load_part(gamma + whole, rest);
        fdstore_part(out + whole, (x - mean) * scale * g + load_part(beta + whole, rest), rest);
    }
}

/* 2^x, for x ≤ 0; below -126 as for -126, which is nothing beside a largest element of 1. */
INLINE vf exp2_of(vf x)
{
    const float round = 0x1.8p23f;
    vf safe = vmax(x, splat(-126.0f));
    vf shifted = safe + round;
    vf r = safe - (shifted - round); /* exact: in [-0.5, 0.5] */
    vf p = r * 1.535334159e-04f + 1.339890063e-03f;
    p = p * r + 9.618437849e-03f;
    p = p * r + 5.550332367e-02f;
    p = p * r + 2.402264774e-01f;
    p = p * r + 6.931471825e-01f;
    p = p * r + 1.0f;
    return (vf)((vi)p + ((vi)shifted << 23)); /* p is in [0.7, 1.5]: its exponent takes n */
}

/* n columns, at most V, of the rows that are not hidden */
INLINE void softmax_columns(float *s, size_t rows, size_t width, size_t n, const uint8_t *mask,
                            float *sums)
{
    vf most = splat(-3.402823466e38f), other = most;
    size_t r = 0;
    for (; !mask && r + 2 <= rows; r += 2) { /* two chains, for one would wait for itself */
        most = vmax(most, load_some(s + r * width, n));
        other = vmax(other, load_some(s + (r + 1) * width, n));
    }
    for (; r < rows; r++)
        if (!mask || mask[r])
            most = vmax(most, load_some(s + r * width, n));
    most = vmax(most, other);
    vf sum = {0};
    for (r = 0; r < rows; r++) {
        vf value = {0};
        if (!mask || mask[r])
            value = exp2_of(load_some(s + r * width, n) - most);
        store_some(s + r * width, value, n);
        sum += value;
    }
    store_some(sums, sum, n);
}

static int all_hidden(const uint8_t *mask, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        if (mask[r])
            return 0;
    return 1;
}

static void softmax(float *s, size_t rows, size_t width, const uint8_t *mask, float *sums)
{
    if (mask && all_hidden(mask, rows)) {
        for (size_t i = 0; i < rows * width; i++)
            s[i] = 1.0f;
        for (size_t i = 0; i < width; i++)
            sums[i] = (float)rows;
        return;
    }
    for (size_t i = 0; i < width; i += V) {
        if (width - i >= V && !mask)
            softmax_columns(s + i, rows, width, V, NULL, sums + i);
        else
            softmax_columns(s + i, rows, width, width - i < V ? width - i : V, mask, sums + i);
    }
}

static void scale_columns(float *rows, size_t stride, size_t count, const float *by, size_t n)
{
    for (size_t r = 0; r < count; r++) {
        float *row = rows + r * stride;
        size_t i = 0;
        for (; i + V <= n; i += V)
            store(row + i, load(row + i) * load(by + i));
        if (i < n)
            fdstore_part(row + i, load_part(row + i, n - i) * load_part(by + i, n - i), n - i);
    }
}

/* ---- widening -------------------------------------------------------------------------------- */

/* Four halves at a time in any instruction set: the exponent is rebiased by a multiplication, which
 * also makes subnormals right; infinity and NaN keep an exponent of all ones. */
INLINE v4 f16_4(const uint16_t *from)
{
#ifdef __F16C__
    __m128i bits = _mm_loadl_epi64((const __m128i *)(const void *)from);
    return (v4)_mm_cvtph_ps(bits);
#else
    i4 bits = {from[0], from[1], from[2], from[3]};
    i4 magnitude = (bits & 0x7fff) << 13;
    i4 special = magnitude >= (0x7c00 << 13);
    v4 value = (v4)magnitude * 0x1p112f;
    i4 result = (i4)value | (special & 0x7f800000) | (bits & 0x8000) << 16;
    return (v4)result;
#endif
}

INLINE v4 bf16_4(const uint16_t *from)
{
    i4 bits = {from[0], from[1], from[2], from[3]};
    return (v4)(bits << 16);
}

INLINE v4 wide_4(const void *from, size_t at, enum sw_dtype dtype)
{
    if (dtype == SW_DTYPE_F32) {
        v4 value;
        memcpy(&value, (const float *)from + at, sizeof value);
        return value;
    }
    const uint16_t *halves = (const uint16_t *)from + at;
    return dtype == SW_DTYPE_F16 ? f16_4(halves) : bf16_4(halves);
}

/* n < 4 */
INLINE v4 wide_part(const void *from, size_t at, size_t n, enum sw_dtype dtype)
{
    uint32_t few[4] = {0};
    size_t bytes = dtype == SW_DTYPE_F32 ? 4 : 2;
    memcpy(few, (const char *)from + at * bytes, n * bytes);
    return wide_4(few, 0, dtype);
}

/* V elements at once; dtype is a constant wherever this is inlined */
INLINE vf wide_v(const void *from, size_t at, enum sw_dtype dtype)
{
#if V == 4
    return wide_4(from, at, dtype);
#else
    if (dtype == SW_DTYPE_F32)
        return load((const float *)from + at);
    const uint16_t *halves = (const uint16_t *)from + at;
#if V == 16
    __m256i bits = _mm256_loadu_si256((const __m256i *)(const void *)halves);
    if (dtype == SW_DTYPE_F16)
        return (vf)_mm512_cvtph_ps(bits);
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16);
#else
    __m128i bits = _mm_loadu_si128((const __m128i *)(const void *)halves);
    if (dtype == SW_DTYPE_F16)
        return (vf)_mm256_cvtph_ps(bits);
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16);
#endif
#endif
}

INLINE void widen_as(float *out, const void *in, size_t n, int add, enum sw_dtype dtype)
{
    size_t i = 0;
    for (; i + V <= n; i += V) {
        vf value = wide_v(in, i, dtype);
        store(out + i, add ? load(out + i) + value : value);
    }
    while (i < n) {
        size_t part = n - i < 4 ? n - i : 4;
        v4 value = wide_part(in, i, part, dtype), old = {0};
        if (add)
            memcpy(&old, out + i, part * sizeof(float));
        value += old;
        memcpy(out + i, &value, part * sizeof(float));
        i += part;
    }
}

#define BY_DTYPE(dtype, call)                                                                      \
    do {                                                                                           \
        if (dtype == SW_DTYPE_F32) {                                                               \
            enum { D = SW_DTYPE_F32 };                                                             \
            call;                                                                                  \
        } else if (dtype == SW_DTYPE_F16) {                                                        \
            enum { D = SW_DTYPE_F16 };                                                             \
            call;                                                                                  \
        } else {                                                                                   \
            enum { D = SW_DTYPE_BF16 };                                                            \
            call;                                                                                  \
        }                                                                                          \
    } while (0)

static void widen(float *out, const void *in, size_t n, enum sw_dtype dtype)
{
    BY_DTYPE(dtype, widen_as(out, in, n, 0, (enum sw_dtype)D));
}

static void widen_add(float *out, const void *in, size_t n, enum sw_dtype dtype)
{
    BY_DTYPE(dtype, widen_as(out, in, n, 1, (enum sw_dtype)D));
}

/* ---- the end of a GEMM ----------------------------------------------------------------------- */

/* n columns, at most V, of every row: the bias stays in a register */
INLINE void finish_columns(const struct swi_strip *s, const float *bias, size_t i, size_t n,
                           enum swi_activation activation)
{
    vf added = load(bias + i);
    for (size_t row = 0; row < s->rows; row++) {
        vf value = load_some(s->sums + row * s->width + i, n) + added;
        value = activation_of(value, activation);
        if (s->residual)
            value += load_some(s->residual + row * s->residual_stride + i, n);
        store_some(s->out + row * s->out_stride + i, value, n);
    }
}

INLINE void finish_as(const struct swi_strip *s, enum swi_activation activation)
{
    float bias[SWI_TILE_MAX] = {0};
    if (s->bias)
        memcpy(bias, s->bias, s->columns * sizeof *bias);
    size_t i = 0;
    for (; i + V <= s->columns; i += V)
        finish_columns(s, bias, i, V, activation);
    if (i < s->columns)
        finish_columns(s, bias, i, s->columns - i, activation);
}

static void finish(const struct swi_strip *s)
{
    switch (s->activation) {
    case SWI_ACT_NONE:
        finish_as(s, SWI_ACT_NONE);
        break;
    case SWI_ACT_GELU:
        finish_as(s, SWI_ACT_GELU);
        break;
    case SWI_ACT_GELU_TANH:
        finish_as(s, SWI_ACT_GELU_TANH);
        break;
    case SWI_ACT_RELU:
        finish_as(s, SWI_ACT_RELU);
        break;
    case SWI_ACT_TANH:
        finish_as(s, SWI_ACT_TANH);
        break;
    }
}

/* ---- into the micro-kernel's order ----------------------------------------------------------- */

INLINE void transpose4(v4 r[4])
{
    v4 a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
    v4 b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    v4 c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
    v4 d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    r[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    r[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    r[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    r[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

/* `lanes` (1 … 4) rows, k columns → out[k, lanes] */
INLINE void interleave_lanes(float *out, size_t out_stride, const void *in, const size_t at[4],
                             size_t k, size_t lanes, enum sw_dtype dtype)
{
    size_t column = 0;
    for (; column + 4 <= k; column += 4) {
        v4 r[4];
        for (size_t lane = 0; lane < 4; lane++)
            r[lane] = wide_4(in, at[lane] + column, dtype);
        transpose4(r);
        for (size_t i = 0; i < 4; i++)
            memcpy(out + (column + i) * out_stride, &r[i], lanes * sizeof(float));
    }
    if (column == k)
        return;
    v4 r[4];
    for (size_t lane = 0; lane < 4; lane++)
        r[lane] = wide_part(in, at[lane] + column, k - column, dtype);
    transpose4(r);
    for (size_t i = 0; column + i < k; i++)
        memcpy(out + (column + i) * out_stride, &r[i], lanes * sizeof(float));
}

INLINE void interleave_all(float *out, size_t out_stride, const void *in, size_t in_stride,
                           size_t rows, size_t k, size_t width, enum sw_dtype dtype)
{
    for (size_t first = 0; first < width; first += 4) {
        size_t at[4];
        for (size_t lane = 0; lane < 4; lane++)
            at[lane] = (first + lane < rows ? first + lane : rows - 1) * in_stride;
        switch (width - first) { /* constants, so that each copy is one or two moves */
        case 1:
            interleave_lanes(out + first, out_stride, in, at, k, 1, dtype);
            break;
        case 2:
            interleave_lanes(out + first, out_stride, in, at, k, 2, dtype);
            break;
        case 3:
            interleave_lanes(out + first, out_stride, in, at, k, 3, dtype);
            break;
        default:
            interleave_lanes(out + first, out_stride, in, at, k, 4, dtype);
        }
    }
}

static void interleave(float *out, size_t out_stride, const float *in, size_t in_stride,
                       size_t rows, size_t k, size_t width)
{
    interleave_all(out, out_stride, in, in_stride, rows, k, width, SW_DTYPE_F32);
}

static void interleave_any(float *out, const void *in, size_t in_stride, size_t rows, size_t k,
                           size_t width, enum sw_dtype dtype)
{
    if (width == 16)
        BY_DTYPE(dtype, interleave_all(out, 16, in, in_stride, rows, k, 16, (enum sw_dtype)D));
    else
        BY_DTYPE(dtype,
                 interleave_all(out, width, in, in_stride, rows, k, width, (enum sw_dtype)D));
}

INLINE void copy_columns_as(float *out, size_t out_width, const void *in, size_t in_width, size_t n,
                            size_t k, enum sw_dtype dtype)
{
    for (size_t row = 0; row < k; row++) {
        size_t i = 0;
        for (; i + 4 <= n; i += 4) {
            v4 value = wide_4(in, row * in_width + i, dtype);
            memcpy(out + row * out_width + i, &value, sizeof value);
        }
        if (i < n) {
            v4 value = wide_part(in, row * in_width + i, n - i, dtype);
            memcpy(out + row * out_width + i, &value, (n - i) * sizeof(float));
        }
    }
}

static void copy_columns(float *out, size_t out_width, const void *in, size_t in_width, size_t n,
                         size_t k, enum sw_dtype dtype)
{
    BY_DTYPE(dtype, copy_columns_as(out, out_width, in, in_width, n, k, (enum sw_dtype)D));
}
