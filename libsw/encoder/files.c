/* SPDX-License-Identifier: MIT */
/* Reading a model's small files. */
#include "encoder/files.h"

#include <stdlib.h>

#include "core/json.h"

int swi_files_read(const struct swi_files *files, const char *path, void **ret_data,
                   size_t *ret_size, struct swi_error *error)
{
    *ret_data = NULL;
    *ret_size = 0;
    int result = files->read(files->context, path, ret_data, ret_size, error);
    return result == SW_ENOCOMPONENT ? 0 : result;
}

int swi_files_read_object(const struct swi_files *files, const char *path, json_t **ret,
                          struct swi_error *error)
{
    void *data;
    size_t size;
    *ret = NULL;
    int result = swi_files_read(files, path, &data, &size, error);
    if (result == 0 && data)
        result = swi_json_read_object(path, data, size, ret, error);
    free(data);
    return result;
}
