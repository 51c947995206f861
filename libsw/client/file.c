/* SPDX-License-Identifier: MIT */
/* Small files of a model, such as config.json. The broker sends a descriptor, not bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/internal.h"

static int read_descriptor(int fd, const char *path, void **ret_data, size_t *ret_size,
                           struct swi_error *error)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return swi_fail(error, -errno, "cannot stat %s: %s", path, sw_strerror(-errno));
    if (!S_ISREG(status.st_mode))
        return swi_fail(error, SW_EFORMAT, "%s is not a regular file", path);
    if (status.st_size < 0 || (uint64_t)status.st_size > SWI_FILE_MAX)
        return swi_fail(error, SW_EUNSUPPORTED, "%s is larger than %u bytes", path, SWI_FILE_MAX);
    size_t size = (size_t)status.st_size;
    char *data = malloc(size + 1);
    if (!data)
        return swi_fail(error, -ENOMEM, "out of memory for %s (%zu bytes)", path, size);
    for (size_t at = 0; at < size;) {
        ssize_t count = pread(fd, data + at, size - at, (off_t)at);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            int code = count < 0 ? -errno : SW_EFORMAT;
            free(data);
            return swi_fail(error, code, "cannot read %s at byte %zu: %s", path, at,
                            count < 0 ? sw_strerror(code) : "it was truncated");
        }
        at += (size_t)count;
    }
    data[size] = 0;
    *ret_data = data;
    *ret_size = size;
    return 0;
}

static int ask_file(struct swi_connection *connection, uint32_t wire_model, const char *path,
                    uint64_t deadline, void **ret_data, size_t *ret_size, struct swi_error *error)
{
    struct swi_wire_file file = {.model = wire_model};
    memcpy(file.path, path, strlen(path));
    uint8_t packet[sizeof(struct swi_wire_head) + sizeof file];
    struct swi_wire_out out;
    struct swi_call call;
    swi_call_begin(connection, &call, &out, packet, sizeof packet, SWI_WIRE_FILE);
    swi_wire_put(&out, &file, sizeof file);
    int result = swi_call_exchange(connection, &call, &out, SWI_WIRE_FILE_IS, deadline, error);
    if (result < 0)
        return result;
    if (call.fd_count != 1)
        result = swi_fail(error, SW_EPROTOCOL, "the broker sent %zu descriptors for one file",
                          call.fd_count);
    else
        result = read_descriptor(call.fds[0], path, ret_data, ret_size, error);
    swi_call_end(connection, &call);
    return result;
}

int sw_model_file(sw_model *model, const char *path, void **ret_data, size_t *ret_size)
{
    struct sw_client *client = model->client;
    size_t length = strlen(path);
    if (length == 0 || length > SWI_NAME_MAX)
        return swi_client_failf(client, SW_ENOCOMPONENT, "a file path must have 1 to %u bytes",
                                SWI_NAME_MAX);
    uint64_t deadline = swi_client_deadline(client);
    struct swi_error error = {0};
    int result;
    do {
        const struct swi_binding *binding;
        struct swi_connection *connection;
        result = swi_model_session(model, deadline, &binding, &connection, &error);
        if (result < 0)
            break;
        result =
            ask_file(connection, binding->wire_model, path, deadline, ret_data, ret_size, &error);
        swi_client_drop(model->client, connection);
    } while (result == SW_EDISCONNECTED && !swi_over(deadline));
    if (result < 0) {
        (void)swi_fail_within(&error, result, "model %s: ", model->name);
        return swi_client_fail(client, &error);
    }
    return 0;
}
