/* SPDX-License-Identifier: MIT */
/* A stack machine that describes instead of doing. Opcodes are those that a dictionary of tensors is
 * written with in protocols 0 to 5; see Python's pickletools for what each means. */
#include "programs/chunk/source/pickle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/safetensors.h" /* SWI_TENSORS_MAX */
#include "programs/chunk/source/pickle_machine.h"

enum global { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGE_TYPE };

/* Everything that a pickle may name. */
static const struct known {
    const char *module, *name;
    enum global global;
    enum sw_dtype dtype; /* of a STORAGE_TYPE */
    enum source_element element;
    uint32_t bytes; /* of an element */
} known_globals[] = {
    {"collections", "OrderedDict", ORDERED_DICT, 0, 0, 0},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR, 0, 0, 0},
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER, 0, 0, 0},
    {"torch", "FloatStorage", STORAGE_TYPE, SW_DTYPE_F32, ELEMENT_DTYPE, 4},
    {"torch", "HalfStorage", STORAGE_TYPE, SW_DTYPE_F16, ELEMENT_DTYPE, 2},
    {"torch", "BFloat16Storage", STORAGE_TYPE, SW_DTYPE_BF16, ELEMENT_DTYPE, 2},
    {"torch", "DoubleStorage", STORAGE_TYPE, SW_DTYPE_I64, ELEMENT_F64, 8},
    {"torch", "LongStorage", STORAGE_TYPE, SW_DTYPE_I64, ELEMENT_DTYPE, 8},
    {"torch", "IntStorage", STORAGE_TYPE, SW_DTYPE_I64, ELEMENT_OTHER, 4},
    {"torch", "ShortStorage", STORAGE_TYPE, SW_DTYPE_I64, ELEMENT_OTHER, 2},
    {"torch", "CharStorage", STORAGE_TYPE, SW_DTYPE_I64, ELEMENT_OTHER, 1},
    {"torch", "ByteStorage", STORAGE_TYPE, SW_DTYPE_I64, ELEMENT_OTHER, 1},
    {"torch", "BoolStorage", STORAGE_TYPE, SW_DTYPE_I64, ELEMENT_OTHER, 1},
};

/* ---- storages and tensors -------------------------------------------------------------------- */

static int push_known(struct machine *machine, struct span module, struct span name)
{
    for (size_t i = 0; i < sizeof known_globals / sizeof known_globals[0]; i++)
        if (machine_text_is(module, known_globals[i].module) &&
            machine_text_is(name, known_globals[i].name))
            return machine_push(machine,
                                &(struct value){.kind = GLOBAL, .as.global = &known_globals[i]});
    return swi_fail(machine->error, SW_EUNSUPPORTED,
                    "the pickle refers to %.*s.%.*s, which a plain model of F32, F16 or BF16 "
                    "tensors does not need; nothing was executed",
                    (int)(module.length < 80 ? module.length : 80), module.bytes,
                    (int)(name.length < 80 ? name.length : 80), name.bytes);
}

static int push_global(struct machine *machine)
{
    struct span module, name;
    return machine_take_line(machine, &module) && machine_take_line(machine, &name)
               ? push_known(machine, module, name)
               : machine_malformed(machine);
}

/* Protocol 4: module and name are on the stack. */
static int push_stack_global(struct machine *machine)
{
    uint32_t name, module;
    if (!machine_pop(machine, &name) || !machine_pop(machine, &module) ||
        machine_value_at(machine, name)->kind != TEXT ||
        machine_value_at(machine, module)->kind != TEXT)
        return machine_malformed(machine);
    return push_known(machine, machine_value_at(machine, module)->as.text,
                      machine_value_at(machine, name)->as.text);
}

/* ('storage', type, key, place, elements) becomes a storage. */
static int push_storage(struct machine *machine)
{
    uint32_t number;
    if (!machine_pop(machine, &number))
        return machine_malformed(machine);
    const struct value *tuple = machine_value_at(machine, number);
    if (tuple->kind != TUPLE || tuple->as.tuple.count != 5)
        return machine_malformed(machine);
    const struct value *tag = machine_element(machine, tuple, 0),
                       *type = machine_element(machine, tuple, 1);
    const struct value *key = machine_element(machine, tuple, 2),
                       *elements = machine_element(machine, tuple, 4);
    if (tag->kind != TEXT || !machine_text_is(tag->as.text, "storage") || type->kind != GLOBAL ||
        type->as.global->global != STORAGE_TYPE || key->kind != TEXT || elements->kind != NUMBER ||
        elements->as.number < 0)
        return machine_malformed(machine);
    return machine_push(machine,
                        &(struct value){.kind = STORAGE,
                                        .as.storage = {.key = key->as.text,
                                                       .type = type->as.global,
                                                       .elements = (uint64_t)elements->as.number}});
}

/* What stands between two texts of a line, which then begins behind them. */
static bool take_between(struct span *line, const char *before, const char *after, struct span *ret)
{
    size_t skip = strlen(before), tail = strlen(after);
    if (line->length < skip || memcmp(line->bytes, before, skip) != 0)
        return false;
    const char *from = line->bytes + skip;
    const char *to = memmem(from, line->length - skip, after, tail);
    if (!to)
        return false;
    *ret = (struct span){from, (size_t)(to - from)};
    line->length -= (size_t)(to + tail - line->bytes);
    line->bytes = to + tail;
    return true;
}

/* Protocol 0 writes the tuple as Python prints it:
 * ('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 128) */
static int push_printed_storage(struct machine *machine)
{
    struct span line, type, key, place, number;
    if (!machine_take_line(machine, &line) ||
        !take_between(&line, "('storage', <class 'torch.", "'>, ", &type) ||
        !take_between(&line, "'", "', ", &key) || !take_between(&line, "'", "', ", &place) ||
        !take_between(&line, "", ")", &number) || number.length == 0 || number.length > 18)
        return machine_malformed(machine);
    uint64_t elements = 0;
    for (size_t i = 0; i < number.length; i++) {
        if (number.bytes[i] < '0' || number.bytes[i] > '9')
            return machine_malformed(machine);
        elements = elements * 10 + (uint64_t)(number.bytes[i] - '0');
    }
    for (size_t i = 0; i < sizeof known_globals / sizeof known_globals[0]; i++)
        if (known_globals[i].global == STORAGE_TYPE && machine_text_is(type, known_globals[i].name))
            return machine_push(machine, &(struct value){.kind = STORAGE,
                                                         .as.storage = {.key = key,
                                                                        .type = &known_globals[i],
                                                                        .elements = elements}});
    return machine_malformed(machine);
}

/* Sizes and strides of a tensor, which must lie inside its storage. */
static int read_shape(const struct machine *machine, const struct value *sizes,
                      const struct value *strides, struct pickle_tensor *tensor)
{
    if (sizes->kind != TUPLE || strides->kind != TUPLE ||
        sizes->as.tuple.count != strides->as.tuple.count)
        return machine_malformed(machine);
    if (sizes->as.tuple.count > SW_RANK_MAX)
        return swi_fail(machine->error, SW_EUNSUPPORTED,
                        "a tensor has rank %u, at most %d is supported", sizes->as.tuple.count,
                        SW_RANK_MAX);
    tensor->rank = sizes->as.tuple.count;
    uint64_t elements = 1, last = 0;
    for (uint32_t i = tensor->rank; i-- > 0;) {
        const struct value *size = machine_element(machine, sizes, i),
                           *stride = machine_element(machine, strides, i);
        uint64_t step;
        if (size->kind != NUMBER || size->as.number < 0 || stride->kind != NUMBER ||
            stride->as.number < 0)
            return machine_malformed(machine);
        tensor->shape[i] = (uint64_t)size->as.number;
        tensor->stride[i] = (uint64_t)stride->as.number;
        if (tensor->shape[i] > 1 && tensor->stride[i] != elements)
            tensor->strided = true;
        if (__builtin_mul_overflow(elements, tensor->shape[i], &elements) ||
            (tensor->shape[i] > 1 &&
             (__builtin_mul_overflow(tensor->shape[i] - 1, tensor->stride[i], &step) ||
              __builtin_add_overflow(last, step, &last))))
            return machine_malformed(machine);
    }
    tensor->extent = elements ? last + 1 : 0;
    tensor->strided = tensor->strided && elements > 0;
    if (last == UINT64_MAX || tensor->extent > tensor->storage_elements ||
        tensor->offset > tensor->storage_elements - tensor->extent)
        return swi_fail(machine->error, SW_EFORMAT, "a tensor extends beyond its storage");
    return 0;
}

/* (storage, offset, sizes, strides, requires_grad, hooks[, metadata]) becomes a tensor. */
static int push_tensor(struct machine *machine, const struct value *arguments)
{
    if (arguments->as.tuple.count < 6 || arguments->as.tuple.count > 7)
        return machine_malformed(machine);
    const struct value *storage = machine_element(machine, arguments, 0);
    const struct value *offset = machine_element(machine, arguments, 1);
    if (storage->kind != STORAGE || offset->kind != NUMBER || offset->as.number < 0)
        return machine_malformed(machine);
    struct pickle_tensor tensor = {.storage = storage->as.storage.key.bytes,
                                   .storage_length = storage->as.storage.key.length,
                                   .dtype = storage->as.storage.type->dtype,
                                   .element = storage->as.storage.type->element,
                                   .element_bytes = storage->as.storage.type->bytes,
                                   .storage_elements = storage->as.storage.elements,
                                   .offset = (uint64_t)offset->as.number};
    int result = read_shape(machine, machine_element(machine, arguments, 2),
                            machine_element(machine, arguments, 3), &tensor);
    if (result < 0)
        return result;
    result = machine_grow(machine, &machine->tensors, sizeof tensor, SWI_TENSORS_MAX);
    if (result < 0)
        return result;
    uint32_t number = (uint32_t)machine->tensors.count++;
    ((struct pickle_tensor *)machine->tensors.elements)[number] = tensor;
    return machine_push(machine, &(struct value){.kind = TENSOR, .as.tensor = number});
}

/* A call: one of three known functions, described instead. */
static int reduce(struct machine *machine)
{
    uint32_t arguments_number, function_number;
    if (!machine_pop(machine, &arguments_number) || !machine_pop(machine, &function_number))
        return machine_malformed(machine);
    const struct value *arguments = machine_value_at(machine, arguments_number);
    const struct value *function = machine_value_at(machine, function_number);
    if (arguments->kind != TUPLE || function->kind != GLOBAL)
        return machine_malformed(machine);
    switch (function->as.global->global) {
    case ORDERED_DICT:
        return arguments->as.tuple.count == 0
                   ? machine_push(machine, &(struct value){.kind = DICTIONARY})
                   : machine_malformed(machine);
    case REBUILD_TENSOR:
        return push_tensor(machine, arguments);
    case REBUILD_PARAMETER:
        if (arguments->as.tuple.count < 1 || machine_element(machine, arguments, 0)->kind != TENSOR)
            return machine_malformed(machine);
        return machine_push_again(machine, machine_item_at(machine, arguments, 0));
    case STORAGE_TYPE:
        break;
    }
    return machine_malformed(machine);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int step(struct machine *machine, unsigned char opcode)
{
    const unsigned char *skipped;
    switch (opcode) {
    case 0x80: /* PROTO */
        return machine_take(machine, 1, &skipped) ? 0 : machine_malformed(machine);
    case '(': /* MARK */
        return machine_append(machine, &machine->marks, (uint32_t)machine->stack.count,
                              MACHINE_STACK_MAX);
    case 'N': /* NONE */
        return machine_push(machine, &(struct value){.kind = NOTHING});
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return machine_push(machine, &(struct value){.kind = BOOLEAN, .as.number = opcode == 0x88});
    case 'K': /* BININT1 */
        return machine_push_integer(machine, 1, false);
    case 'M': /* BININT2 */
        return machine_push_integer(machine, 2, false);
    case 'J': /* BININT */
        return machine_push_integer(machine, 4, true);
    case 0x8a: /* LONG1 */
        return machine_push_long(machine);
    case 'I': /* INT */
    case 'L': /* LONG */
        return machine_push_number_line(machine);
    case 'X': /* BINUNICODE */
    case 'T': /* BINSTRING */
        return machine_push_text(machine, 4);
    case 0x8c: /* SHORT_BINUNICODE */
    case 'U':  /* SHORT_BINSTRING */
        return machine_push_text(machine, 1);
    case 0x8d: /* BINUNICODE8 */
        return machine_push_text(machine, 8);
    case 'V': /* UNICODE */
        return machine_push_text_line(machine);
    case 'c': /* GLOBAL */
        return push_global(machine);
    case 0x93: /* STACK_GLOBAL */
        return push_stack_global(machine);
    case 0x94: /* MEMOIZE */
        return machine_put_memo_at(machine, machine->memo.count);
    case 0x95: /* FRAME */
        return machine_take(machine, 8, &skipped) ? 0 : machine_malformed(machine);
    case ')': /* EMPTY_TUPLE */
        return machine_push_short_tuple(machine, 0);
    case 0x85: /* TUPLE1 … TUPLE3 */
    case 0x86:
    case 0x87:
        return machine_push_short_tuple(machine, opcode - 0x84u);
    case 't': /* TUPLE */
        return machine_push_marked_tuple(machine);
    case 'd': /* DICT */
        return machine_push_marked_dictionary(machine);
    case '}': /* EMPTY_DICT */
        return machine_push(machine, &(struct value){.kind = DICTIONARY});
    case 's': /* SETITEM */
        return machine_set_item(machine);
    case 'u': /* SETITEMS */
        return machine_set_marked_items(machine);
    case 'b': /* BUILD */
        return machine_drop_state(machine);
    case 'p': /* PUT */
        return machine_put_memo_line(machine);
    case 'g': /* GET */
        return machine_get_memo_line(machine);
    case 'q': /* BINPUT */
        return machine_put_memo(machine, 1);
    case 'r': /* LONG_BINPUT */
        return machine_put_memo(machine, 4);
    case 'h': /* BINGET */
        return machine_get_memo(machine, 1);
    case 'j': /* LONG_BINGET */
        return machine_get_memo(machine, 4);
    case 'P': /* PERSID */
        return push_printed_storage(machine);
    case 'Q': /* BINPERSID */
        return push_storage(machine);
    case 'R': /* REDUCE */
        return reduce(machine);
    default:
        return swi_fail(machine->error, SW_EUNSUPPORTED,
                        "the pickle has the opcode 0x%02x, which no dictionary of tensors needs; "
                        "nothing was executed",
                        opcode);
    }
}

/* Runs up to STOP; the result's number in *ret. */
static int run(struct machine *machine, uint32_t *ret)
{
    while (machine->at < machine->end) {
        unsigned char opcode = *machine->at++;
        if (opcode == '.') /* STOP */
            return machine->marks.count == 0 && machine->stack.count == 1 &&
                           machine_top(machine, ret)
                       ? 0
                       : machine_malformed(machine);
        int result = step(machine, opcode);
        if (result < 0)
            return result;
    }
    return swi_fail(machine->error, SW_EFORMAT, "the pickle ends too early");
}

static bool usable(struct span text)
{
    return text.length > 0 && text.length <= 1024 && !memchr(text.bytes, 0, text.length);
}

/* The tensors of the dictionary that the pickle has come to. */
static int collect(const struct machine *machine, uint32_t result, struct pickle *pickle)
{
    if (machine_value_at(machine, result)->kind != DICTIONARY)
        return swi_fail(machine->error, SW_EUNSUPPORTED, "the pickle holds no dictionary");
    pickle->tensors = calloc(machine->entries.count + 1, sizeof *pickle->tensors);
    if (!pickle->tensors)
        return swi_fail(machine->error, -ENOMEM, "out of memory");
    const struct entry *entries = machine->entries.elements;
    for (size_t i = 0; i < machine->entries.count; i++) {
        if (entries[i].dictionary != result)
            continue;
        const struct value *key = machine_value_at(machine, entries[i].key);
        const struct value *value = machine_value_at(machine, entries[i].value);
        if (key->kind != TEXT || !usable(key->as.text))
            return swi_fail(machine->error, SW_EUNSUPPORTED,
                            "the dictionary has a key that is not a string");
        if (value->kind != TENSOR)
            return swi_fail(machine->error, SW_EUNSUPPORTED,
                            "\"%.*s\" is not a tensor; the file must hold a plain state dictionary",
                            (int)(key->as.text.length < 200 ? key->as.text.length : 200),
                            key->as.text.bytes);
        struct pickle_tensor *tensor = &pickle->tensors[pickle->count++];
        *tensor = ((const struct pickle_tensor *)machine->tensors.elements)[value->as.tensor];
        tensor->name = key->as.text.bytes;
        tensor->name_length = key->as.text.length;
        if (!usable((struct span){tensor->storage, tensor->storage_length}))
            return machine_malformed(machine);
    }
    return 0;
}

int pickle_parse(const void *data, size_t size, struct pickle *ret, struct swi_error *error)
{
    if (size > PICKLE_BYTES_MAX)
        return swi_fail(error, SW_EFORMAT, "a pickle of %zu bytes; at most %u are supported", size,
                        PICKLE_BYTES_MAX);
    struct machine machine = {
        .at = data, .end = (const unsigned char *)data + size, .size = size, .error = error};
    struct pickle pickle = {0};
    uint32_t top_number = 0;
    int result = run(&machine, &top_number);
    if (result == 0)
        result = collect(&machine, top_number, &pickle);
    machine_fini(&machine);
    if (result < 0) {
        pickle_fini(&pickle);
        return result;
    }
    *ret = pickle;
    return 0;
}

void pickle_fini(struct pickle *pickle)
{
    free(pickle->tensors);
    *pickle = (struct pickle){0};
}
