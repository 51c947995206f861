/* SPDX-License-Identifier: MIT */
/* The first step of another engine: every tensor of a model, read in place, with client.h alone.
 *
 *     example-tensors MODEL
 *
 * Prints a line per tensor: component, name, element type, layout, shape, strides, the sum of its
 * elements read through shape and strides, and of a matrix the sum of row 1, which shows where a
 * row lies in panels. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sw/client.h>

/* One IEEE half or bfloat16 as a float. */
static float widen(enum sw_dtype dtype, uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, bits;
    uint32_t fraction = half & 1023;
    float value;
    if (dtype == SW_DTYPE_BF16)
        bits = (uint32_t)half << 16;
    else if (exponent == 31)
        bits = sign | 0x7f800000 | fraction << 13;
    else if (exponent)
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    else { /* subnormal: fraction times 2^-24 */
        value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double element(const struct sw_tensor *tensor, uint64_t index)
{
    float f32;
    uint16_t half;
    int64_t i64;
    const unsigned char *at =
        (const unsigned char *)tensor->data + index * sw_dtype_size(tensor->dtype);
    switch (tensor->dtype) {
    case SW_DTYPE_F32:
        memcpy(&f32, at, sizeof f32);
        return (double)f32;
    case SW_DTYPE_I64:
        memcpy(&i64, at, sizeof i64);
        return (double)i64;
    default:
        memcpy(&half, at, sizeof half);
        return (double)widen(tensor->dtype, half);
    }
}

/* Sums the elements from dimension axis on, starting at offset. */
static double sum(const struct sw_tensor *tensor, uint32_t axis, uint64_t offset)
{
    if (axis == tensor->rank)
        return element(tensor, offset);
    double total = 0;
    for (uint64_t i = 0; i < tensor->shape[axis]; i++)
        total += sum(tensor, axis + 1, offset + i * tensor->strides[axis]);
    return total;
}

/* Row n of W[N][K]; in panels [ceil(N/16), K, 16] it is lane n%16 of panel n/16. */
static double sum_of_row(const struct sw_tensor *tensor, uint64_t n)
{
    uint64_t offset = n * tensor->strides[0];
    if (tensor->layout == SW_LAYOUT_PANEL)
        offset = n / SW_PANEL_WIDTH * tensor->strides[0] + n % SW_PANEL_WIDTH;
    double total = 0;
    for (uint64_t k = 0; k < tensor->shape[1]; k++)
        total += element(tensor, offset + k * tensor->strides[1]);
    return total;
}

static void print(const char *component, const struct sw_tensor *tensor)
{
    printf("%s %s %s %s", component, tensor->name, sw_dtype_name(tensor->dtype),
           sw_layout_name(tensor->layout));
    for (uint32_t i = 0; i < tensor->rank; i++)
        printf("%s%" PRIu64, i ? "," : " [", tensor->shape[i]);
    for (uint32_t i = 0; i < tensor->rank; i++)
        printf("%s%" PRIu64, i ? "," : "] [", tensor->strides[i]);
    printf("] %.17g %.17g\n", sum(tensor, 0, 0), tensor->rank > 1 ? sum_of_row(tensor, 1) : 0);
}

static int read_component(sw_model *model, uint32_t number)
{
    struct sw_component_info info = SW_INIT(struct sw_component_info);
    sw_component *component;
    int result = sw_model_component_info(model, number, &info);
    if (result == 0)
        result = sw_component_acquire(model, number, &component);
    if (result < 0)
        return result;
    for (uint32_t i = 0; i < sw_component_tensor_count(component); i++) {
        struct sw_tensor tensor = SW_INIT(struct sw_tensor);
        if (sw_component_tensor_at(component, i, &tensor) == 0)
            print(info.name, &tensor);
    }
    return sw_component_release(component); /* SW_EREVOKED: discard what was read */
}

int main(int argc, char **argv)
{
    char message[512] = "";
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    options.error = message;
    options.error_size = sizeof message;
    sw_client *client = NULL;
    sw_model *model = NULL;
    if (argc != 2) {
        fprintf(stderr, "Usage: example-tensors MODEL\n");
        return 2;
    }
    int result = sw_client_open(&options, &client);
    if (result == 0)
        result = sw_model_open(client, argv[1], &model);
    for (uint32_t i = 0; result == 0 && i < sw_model_component_count(model); i++)
        result = read_component(model, i);
    if (result < 0) {
        if (client)
            sw_client_message(client, message, sizeof message);
        fprintf(stderr, "example-tensors: %s\n", *message ? message : sw_strerror(result));
    }
    if (model)
        sw_model_close(model);
    sw_client_close(client);
    return result < 0;
}
