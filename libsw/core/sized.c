/* SPDX-License-Identifier: MIT */
/* Copying between structs of different releases. */
#include "core/sized.h"

#include <errno.h>
#include <string.h>

int swi_sized_in(void *known, size_t known_size, const void *given, size_t given_size,
                 struct swi_error *error)
{
    if (!given)
        return 0;
    if (given_size < sizeof(size_t))
        return swi_fail(error, -EINVAL,
                        "the size of the options is not set; initialise them with SW_INIT");
    const unsigned char *bytes = given;
    for (size_t i = known_size; i < given_size; i++)
        if (bytes[i])
            return swi_fail(error, SW_EUNSUPPORTED,
                            "a field is set that this release of the library does not support");
    memcpy(known, given, given_size < known_size ? given_size : known_size);
    return 0;
}

int swi_sized_out(void *given, size_t given_size, const void *known, size_t known_size)
{
    if (given_size < sizeof(size_t))
        return -EINVAL;
    unsigned char *to = given;
    const unsigned char *from = known;
    size_t shared = given_size < known_size ? given_size : known_size;
    memcpy(to + sizeof(size_t), from + sizeof(size_t), shared - sizeof(size_t));
    memset(to + shared, 0, given_size - shared);
    return 0;
}
