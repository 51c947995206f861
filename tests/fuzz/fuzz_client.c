/* SPDX-License-Identifier: MIT */
/* A worker's library against a broker that lies: in its messages, in the descriptors that come with
 * them, and in the memory that they share. The first two bytes are the length of the liar's list of
 * lies, which follows; the rest is what the worker does meanwhile. Every call must come back, with
 * a message where it fails, and what it hands out must be readable.
 *
 * Not played: a broker that shortens memory which it has shared. It could as well kill the worker,
 * which is why the library asks under whose uid it runs.
 */
#include <errno.h>

#include <sw/encoder.h>

#include "liar.h"

#define DEEDS_MAX  48
#define LEASES     4u
#define TIMEOUT_MS 200
#define FLOATS_MAX 8192u

enum deed {
    ACQUIRE,
    LEASE,
    TRY_LEASE,
    RELEASE,
    READ_FILE,
    PREFETCH,
    WARM_UP,
    EMBED,
    POKE,
    CLOSE,
    STATS,
    CLEAR,
    DEEDS,
};

struct worker {
    struct liar *liar;
    sw_client *client;
    sw_model *model; /* NULL: not open */
    sw_encoder *encoder;
    struct sw_lease leases[LEASES];
    bool held[LEASES];
};

static uint64_t read_bytes(const void *data, uint64_t size)
{
    const uint8_t *bytes = data;
    uint64_t sum = 0;
    for (uint64_t at = 0; at < size; at += 512)
        sum += bytes[at];
    return size ? sum + bytes[size - 1] : sum;
}

static volatile uint64_t witness; /* so that reads are made */

static int failed(const struct worker *worker, int result)
{
    char text[512] = "";
    if (result < 0 && result != -EAGAIN) {
        (void)sw_client_message(worker->client, text, sizeof text);
        FUZZ_CHECK(text[0] != 0);
    }
    return result;
}

static bool ready(struct worker *worker)
{
    if (!worker->model &&
        failed(worker, sw_model_open(worker->client, LIAR_MODEL, &worker->model)) < 0)
        worker->model = NULL;
    return worker->model != NULL;
}

static void acquire(struct worker *worker, uint32_t number)
{
    sw_component *component;
    if (failed(worker, sw_component_acquire(worker->model, number, &component)) < 0)
        return;
    uint32_t count = sw_component_tensor_count(component);
    for (uint32_t i = 0; i < count; i++) {
        struct sw_tensor tensor = SW_INIT(struct sw_tensor), same = SW_INIT(struct sw_tensor);
        FUZZ_CHECK(sw_component_tensor_at(component, i, &tensor) == 0);
        FUZZ_CHECK(sw_component_tensor(component, tensor.name, &same) == 0);
        FUZZ_CHECK(same.data == tensor.data);
        witness = witness + read_bytes(tensor.data, tensor.bytes);
    }
    const char *layout = sw_component_metadata(component, "layout");
    witness = witness + (layout ? strlen(layout) : 0);
    (void)sw_component_release(component);
}

static void lease(struct worker *worker, uint32_t slot, uint32_t number, bool wait)
{
    struct sw_lease *lease = &worker->leases[slot];
    if (worker->held[slot])
        return;
    int result = wait ? sw_lease_acquire(worker->model, number, lease)
                      : sw_lease_try_acquire(worker->model, number, lease);
    if (failed(worker, result) < 0)
        return;
    worker->held[slot] = true;
    witness = witness + read_bytes(lease->data, lease->bytes);
}

static void release(struct worker *worker, uint32_t slot)
{
    if (worker->held[slot])
        (void)sw_lease_release(&worker->leases[slot]);
    worker->held[slot] = false;
}

static void read_file(struct worker *worker, bool other)
{
    void *data;
    size_t size;
    const char *path = other ? "1_Pooling/config.json" : "config.json";
    if (failed(worker, sw_model_file(worker->model, path, &data, &size)) < 0)
        return;
    witness = witness + read_bytes(data, size);
    free(data);
}

static void embed(struct worker *worker)
{
    char text[512] = "";
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    options.error = text;
    options.error_size = sizeof text;
    if (!worker->encoder &&
        sw_encoder_open(worker->client, LIAR_MODEL, &options, &worker->encoder) < 0) {
        FUZZ_CHECK(text[0] != 0);
        worker->encoder = NULL;
        return;
    }
    struct sw_encoder_config config = SW_INIT(struct sw_encoder_config);
    FUZZ_CHECK(sw_encoder_get_config(worker->encoder, &config) == 0);
    if (config.hidden_size > FLOATS_MAX || config.intermediate_size > FLOATS_MAX)
        return; /* seconds of zeros */
    static float vectors[2 * FLOATS_MAX];
    const uint32_t lengths[] = {2, 1};
    const int32_t ids[] = {2, 5, 0};
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = 2;
    batch.lengths = lengths;
    batch.ids = ids;
    if (sw_encoder_embed(worker->encoder, &batch, SW_POOLING_DEFAULT, SW_NORMALIZE_YES, vectors,
                         2 * FLOATS_MAX) < 0) {
        (void)sw_encoder_message(worker->encoder, text, sizeof text);
        FUZZ_CHECK(text[0] != 0);
    }
}

static void close_all(struct worker *worker)
{
    for (uint32_t i = 0; i < LEASES; i++)
        release(worker, i);
    sw_encoder_close(worker->encoder);
    if (worker->model)
        sw_model_close(worker->model);
    worker->encoder = NULL;
    worker->model = NULL;
}

/* What needs the model. */
static void act_on_model(struct worker *worker, enum deed deed, uint32_t number)
{
    const uint32_t all[] = {number, 0, 1, 2};
    if (!ready(worker))
        return;
    uint32_t count = sw_model_component_count(worker->model);
    FUZZ_CHECK(count > 0);
    switch (deed) {
    case ACQUIRE:
        acquire(worker, number % (count + 1));
        break;
    case LEASE:
    case TRY_LEASE:
        lease(worker, number / 8 % LEASES, number % (count + 1), deed == LEASE);
        break;
    case READ_FILE:
        read_file(worker, number & 1);
        break;
    case PREFETCH:
        (void)sw_model_prefetch(worker->model, all, count < 4 ? 1 : 4);
        break;
    case WARM_UP:
        (void)failed(worker, sw_model_warmup(worker->model, count < 3 ? all : all + 1, 1));
        break;
    default:
        sw_model_clear_cache(worker->model);
        break;
    }
}

static void act(struct worker *worker, struct fuzz_input *input)
{
    struct sw_client_stats stats = SW_INIT(struct sw_client_stats);
    enum deed deed = (enum deed)(fuzz_byte(input) % DEEDS);
    if (deed == POKE) {
        liar_poke(worker->liar, input);
        return;
    }
    uint8_t number = fuzz_byte(input);
    switch (deed) {
    case RELEASE:
        release(worker, number % LEASES);
        break;
    case EMBED:
        embed(worker);
        break;
    case CLOSE:
        close_all(worker);
        break;
    case STATS:
        FUZZ_CHECK(sw_client_get_stats(worker->client, &stats) == 0);
        break;
    default:
        act_on_model(worker, deed, number);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input_of(data, size);
    size_t lies_size;
    const uint8_t *lies = fuzz_bytes(&input, (size_t)fuzz_number(&input, 2), &lies_size);
    struct worker worker = {.liar = liar_start(fuzz_input_of(lies, lies_size))};
    char text[512] = "";
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    options.socket_path = liar_socket(worker.liar);
    options.timeout_ms = TIMEOUT_MS;
    options.error = text;
    options.error_size = sizeof text;
    if (sw_client_open(&options, &worker.client) == 0) {
        for (int i = 0; i < DEEDS_MAX && fuzz_left(&input); i++)
            act(&worker, &input);
        close_all(&worker);
        sw_client_close(worker.client);
    } else {
        FUZZ_CHECK(text[0] != 0);
    }
    liar_stop(worker.liar);
    return 0;
}
