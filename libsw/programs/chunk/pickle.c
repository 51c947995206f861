/* A stack machine that describes instead of doing. Opcodes are those of protocol 2 that torch.save
 * uses; see Python's pickletools for what each means. */
#include "programs/chunk/pickle.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/safetensors.h" /* SWI_TENSORS_MAX */

/* Far above what the largest models need: some twenty values for each tensor. */
#define VALUES_MAX  (1u << 20)
#define STACK_MAX   (1u << 20)
#define ITEMS_MAX   (1u << 22)
#define ENTRIES_MAX (1u << 20)

enum kind { NOTHING, BOOLEAN, NUMBER, TEXT, TUPLE, DICTIONARY, GLOBAL, STORAGE, TENSOR };

enum global { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGE_TYPE };

/* Everything that a pickle may name. */
static const struct known {
    const char *module, *name;
    enum global global;
    enum sw_dtype dtype; /* of a STORAGE_TYPE */
} known_globals[] = {
    {"collections", "OrderedDict", ORDERED_DICT, 0},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER, 0},
    {"torch", "FloatStorage", STORAGE_TYPE, SW_DTYPE_F32},
    {"torch", "HalfStorage", STORAGE_TYPE, SW_DTYPE_F16},
    {"torch", "BFloat16Storage", STORAGE_TYPE, SW_DTYPE_BF16},
    {"torch", "LongStorage", STORAGE_TYPE, SW_DTYPE_I64},
};

struct span {
    const char *bytes;
    size_t length;
};

struct value {
    enum kind kind;
    union {
        int64_t number; /* also of a BOOLEAN */
        struct span text;
        struct {
            uint32_t first, count; /* in items */
        } tuple;
        const struct known *global;
        struct {
            struct span key;
            enum sw_dtype dtype;
            uint64_t elements;
        } storage;
        uint32_t tensor; /* in tensors */
    } as;
};

/* key: value in the dictionary that is that value */
struct entry {
    uint32_t dictionary, key, value;
};

/* Growing arrays of one element size; `count` elements are in use. */
struct list {
    void *elements;
    size_t count, capacity;
};

struct machine {
    const unsigned char *at, *end;
    struct list values;  /* of struct value */
    struct list stack;   /* of uint32_t: numbers of values */
    struct list marks;   /* of uint32_t: heights of the stack */
    struct list memo;    /* of uint32_t: number of a value + 1; 0: not set */
    struct list items;   /* of uint32_t: tuples' elements */
    struct list entries; /* of struct entry */
    struct list tensors; /* of struct pickle_tensor, without names */
    struct swi_error *error;
};

/* ---- lists
 * ------------------------------------------------------------------------------------------- */

static int grow(struct machine *machine, struct list *list, size_t element, size_t most)
{
    if (list->count < list->capacity)
        return 0;
    if (list->count >= most)
        return swi_fail(machine->error, SW_EFORMAT, "the pickle is larger than any model's");
    size_t capacity = list->capacity ? list->capacity * 2 : 256;
    void *grown = reallocarray(list->elements, capacity, element);
    if (!grown)
        return swi_fail(machine->error, -ENOMEM, "out of memory");
    list->elements = grown;
    list->capacity = capacity;
    return 0;
}

static int append_number(struct machine *machine, struct list *list, uint32_t number, size_t most)
{
    int result = grow(machine, list, sizeof number, most);
    if (result == 0)
        ((uint32_t *)list->elements)[list->count++] = number;
    return result;
}

static struct value *value_at(const struct machine *machine, uint32_t number)
{
    return (struct value *)machine->values.elements + number;
}

static uint32_t item_at(const struct machine *machine, const struct value *tuple, uint32_t index)
{
    return ((const uint32_t *)machine->items.elements)[tuple->as.tuple.first + index];
}

static const struct value *element(const struct machine *machine, const struct value *tuple,
                                   uint32_t index)
{
    return value_at(machine, item_at(machine, tuple, index));
}

/* ---- the stack
 * ----------------------------------------------------------------------------------------- */

static int malformed(const struct machine *machine)
{
    return swi_fail(machine->error, SW_EFORMAT, "the pickle is malformed");
}

static int push_number(struct machine *machine, uint32_t number)
{
    return append_number(machine, &machine->stack, number, STACK_MAX);
}

static int push(struct machine *machine, const struct value *value)
{
    int result = grow(machine, &machine->values, sizeof *value, VALUES_MAX);
    if (result < 0)
        return result;
    uint32_t number = (uint32_t)machine->values.count++;
    *value_at(machine, number) = *value;
    return push_number(machine, number);
}

/* Height below which nothing may be popped: the latest mark's. */
static size_t floor_of(const struct machine *machine)
{
    const uint32_t *marks = machine->marks.elements;
    return machine->marks.count ? marks[machine->marks.count - 1] : 0;
}

static bool pop(struct machine *machine, uint32_t *ret)
{
    if (machine->stack.count <= floor_of(machine))
        return false;
    *ret = ((const uint32_t *)machine->stack.elements)[--machine->stack.count];
    return true;
}

static bool top(const struct machine *machine, uint32_t *ret)
{
    if (machine->stack.count <= floor_of(machine))
        return false;
    *ret = ((const uint32_t *)machine->stack.elements)[machine->stack.count - 1];
    return true;
}

/* Takes the latest mark away; what is above it on the stack is *ret_first and up. */
static bool pop_mark(struct machine *machine, size_t *ret_first)
{
    if (machine->marks.count == 0)
        return false;
    *ret_first = ((const uint32_t *)machine->marks.elements)[--machine->marks.count];
    return true;
}

/* ---- the input
 * ------------------------------------------------------------------------------------------ */

static bool take(struct machine *machine, size_t size, const unsigned char **ret)
{
    if ((size_t)(machine->end - machine->at) < size)
        return false;
    *ret = machine->at;
    machine->at += size;
    return true;
}

/* size bytes, little-endian. */
static bool take_unsigned(struct machine *machine, size_t size, uint64_t *ret)
{
    const unsigned char *bytes;
    if (!take(machine, size, &bytes))
        return false;
    *ret = 0;
    for (size_t i = 0; i < size; i++)
        *ret |= (uint64_t)bytes[i] << (8 * i);
    return true;
}

static bool take_line(struct machine *machine, struct span *ret)
{
    const unsigned char *end = memchr(machine->at, '\n', (size_t)(machine->end - machine->at));
    if (!end)
        return false;
    *ret = (struct span){(const char *)machine->at, (size_t)(end - machine->at)};
    machine->at = end + 1;
    return true;
}

static bool is(struct span text, const char *wanted)
{
    return text.length == strlen(wanted) && memcmp(text.bytes, wanted, text.length) == 0;
}

/* ---- opcodes that push a value
 * ------------------------------------------------------------------------- */

static int push_integer(struct machine *machine, size_t size, bool is_signed)
{
    uint64_t bits;
    if (!take_unsigned(machine, size, &bits))
        return malformed(machine);
    if (is_signed && size > 0 && size < 8 && bits >> (8 * size - 1))
        bits |= UINT64_MAX << (8 * size);
    return push(machine, &(struct value){.kind = NUMBER, .as.number = (int64_t)bits});
}

/* An integer of one length byte and that many bytes. */
static int push_long(struct machine *machine)
{
    uint64_t size;
    if (!take_unsigned(machine, 1, &size) || size > 8)
        return malformed(machine);
    return push_integer(machine, (size_t)size, true);
}

static int push_text(struct machine *machine)
{
    uint64_t length;
    const unsigned char *bytes;
    if (!take_unsigned(machine, 4, &length) || !take(machine, (size_t)length, &bytes))
        return malformed(machine);
    return push(machine,
                &(struct value){.kind = TEXT, .as.text = {(const char *)bytes, (size_t)length}});
}

static int push_global(struct machine *machine)
{
    struct span module, name;
    if (!take_line(machine, &module) || !take_line(machine, &name))
        return malformed(machine);
    for (size_t i = 0; i < sizeof known_globals / sizeof known_globals[0]; i++)
        if (is(module, known_globals[i].module) && is(name, known_globals[i].name))
            return push(machine, &(struct value){.kind = GLOBAL, .as.global = &known_globals[i]});
    return swi_fail(
        machine->error, SW_EUNSUPPORTED,
        "the pickle asks for %.*s.%.*s, which is no part of a plain model of F32, F16 or "
        "BF16 tensors; nothing was executed",
        (int)(module.length < 80 ? module.length : 80), module.bytes,
        (int)(name.length < 80 ? name.length : 80), name.bytes);
}

static int push_tuple(struct machine *machine, size_t first)
{
    struct value value = {
        .kind = TUPLE,
        .as.tuple = {(uint32_t)machine->items.count, (uint32_t)(machine->stack.count - first)}};
    for (size_t i = first; i < machine->stack.count; i++) {
        int result = append_number(machine, &machine->items,
                                   ((const uint32_t *)machine->stack.elements)[i], ITEMS_MAX);
        if (result < 0)
            return result;
    }
    machine->stack.count = first;
    return push(machine, &value);
}

static int push_marked_tuple(struct machine *machine)
{
    size_t first;
    return pop_mark(machine, &first) ? push_tuple(machine, first) : malformed(machine);
}

static int push_short_tuple(struct machine *machine, size_t count)
{
    if (machine->stack.count < floor_of(machine) + count)
        return malformed(machine);
    return push_tuple(machine, machine->stack.count - count);
}

/* ---- the memo
 * -------------------------------------------------------------------------------------------- */

static int put_memo(struct machine *machine, size_t size)
{
    uint64_t index;
    uint32_t number;
    if (!take_unsigned(machine, size, &index) || !top(machine, &number) || index >= VALUES_MAX)
        return malformed(machine);
    while (machine->memo.count <= index) {
        int result = append_number(machine, &machine->memo, 0, VALUES_MAX);
        if (result < 0)
            return result;
    }
    ((uint32_t *)machine->memo.elements)[index] = number + 1;
    return 0;
}

static int get_memo(struct machine *machine, size_t size)
{
    uint64_t index;
    if (!take_unsigned(machine, size, &index) || index >= machine->memo.count)
        return malformed(machine);
    uint32_t number = ((const uint32_t *)machine->memo.elements)[index];
    return number ? push_number(machine, number - 1) : malformed(machine);
}

/* ---- dictionaries
 * ------------------------------------------------------------------------------------------ */

static int add_entry(struct machine *machine, uint32_t dictionary, uint32_t key, uint32_t value)
{
    int result = grow(machine, &machine->entries, sizeof(struct entry), ENTRIES_MAX);
    if (result == 0)
        ((struct entry *)machine->entries.elements)[machine->entries.count++] =
            (struct entry){dictionary, key, value};
    return result;
}

/* The pairs from `first` up go into the dictionary under them, which stays on the stack. */
static int set_items(struct machine *machine, size_t first)
{
    uint32_t dictionary;
    const uint32_t *stack = machine->stack.elements;
    size_t end = machine->stack.count;
    if ((end - first) % 2 != 0)
        return malformed(machine);
    machine->stack.count = first;
    if (!top(machine, &dictionary) || value_at(machine, dictionary)->kind != DICTIONARY)
        return malformed(machine);
    for (size_t i = first; i < end; i += 2) {
        int result = add_entry(machine, dictionary, stack[i], stack[i + 1]);
        if (result < 0)
            return result;
    }
    return 0;
}

static int set_marked_items(struct machine *machine)
{
    size_t first;
    return pop_mark(machine, &first) ? set_items(machine, first) : malformed(machine);
}

static int set_item(struct machine *machine)
{
    if (machine->stack.count < floor_of(machine) + 3)
        return malformed(machine);
    return set_items(machine, machine->stack.count - 2);
}

/* State of an object. Only a state dictionary has one (its version table), and it says nothing
 * about weights. */
static int drop_state(struct machine *machine)
{
    uint32_t state, object;
    if (!pop(machine, &state) || !top(machine, &object) ||
        value_at(machine, state)->kind != DICTIONARY ||
        value_at(machine, object)->kind != DICTIONARY)
        return malformed(machine);
    return 0;
}

/* ---- storages and tensors
 * ------------------------------------------------------------------------------------ */

/* ('storage', type, key, place, elements) becomes a storage. */
static int push_storage(struct machine *machine)
{
    uint32_t number;
    if (!pop(machine, &number))
        return malformed(machine);
    const struct value *tuple = value_at(machine, number);
    if (tuple->kind != TUPLE || tuple->as.tuple.count != 5)
        return malformed(machine);
    const struct value *tag = element(machine, tuple, 0), *type = element(machine, tuple, 1);
    const struct value *key = element(machine, tuple, 2), *elements = element(machine, tuple, 4);
    if (tag->kind != TEXT || !is(tag->as.text, "storage") || type->kind != GLOBAL ||
        type->as.global->global != STORAGE_TYPE || key->kind != TEXT || elements->kind != NUMBER ||
        elements->as.number < 0)
        return malformed(machine);
    return push(machine,
                &(struct value){.kind = STORAGE,
                                .as.storage = {.key = key->as.text,
                                               .dtype = type->as.global->dtype,
                                               .elements = (uint64_t)elements->as.number}});
}

/* Sizes of a tensor, and whether its strides are those of rows one after the other. */
static int read_shape(const struct machine *machine, const struct value *sizes,
                      const struct value *strides, struct pickle_tensor *tensor)
{
    if (sizes->kind != TUPLE || strides->kind != TUPLE ||
        sizes->as.tuple.count != strides->as.tuple.count)
        return malformed(machine);
    if (sizes->as.tuple.count > SW_RANK_MAX)
        return swi_fail(machine->error, SW_EUNSUPPORTED,
                        "a tensor has rank %u, at most %d is supported", sizes->as.tuple.count,
                        SW_RANK_MAX);
    tensor->rank = sizes->as.tuple.count;
    uint64_t elements = 1;
    for (uint32_t i = tensor->rank; i-- > 0;) {
        const struct value *size = element(machine, sizes, i),
                           *stride = element(machine, strides, i);
        if (size->kind != NUMBER || size->as.number < 0 || stride->kind != NUMBER)
            return malformed(machine);
        tensor->shape[i] = (uint64_t)size->as.number;
        if (tensor->shape[i] > 1 && (uint64_t)stride->as.number != elements)
            return swi_fail(machine->error, SW_EUNSUPPORTED,
                            "a tensor is not stored row by row; save it again after .contiguous()");
        if (__builtin_mul_overflow(elements, tensor->shape[i], &elements))
            return malformed(machine);
    }
    if (elements > tensor->storage_elements || tensor->offset > tensor->storage_elements - elements)
        return swi_fail(machine->error, SW_EFORMAT, "a tensor lies outside its storage");
    return 0;
}

/* (storage, offset, sizes, strides, requires_grad, hooks[, metadata]) becomes a tensor. */
static int push_tensor(struct machine *machine, const struct value *arguments)
{
    if (arguments->as.tuple.count < 6 || arguments->as.tuple.count > 7)
        return malformed(machine);
    const struct value *storage = element(machine, arguments, 0);
    const struct value *offset = element(machine, arguments, 1);
    if (storage->kind != STORAGE || offset->kind != NUMBER || offset->as.number < 0)
        return malformed(machine);
    struct pickle_tensor tensor = {.storage = storage->as.storage.key.bytes,
                                   .storage_length = storage->as.storage.key.length,
                                   .dtype = storage->as.storage.dtype,
                                   .storage_elements = storage->as.storage.elements,
                                   .offset = (uint64_t)offset->as.number};
    int result = read_shape(machine, element(machine, arguments, 2), element(machine, arguments, 3),
                            &tensor);
    if (result < 0)
        return result;
    result = grow(machine, &machine->tensors, sizeof tensor, SWI_TENSORS_MAX);
    if (result < 0)
        return result;
    uint32_t number = (uint32_t)machine->tensors.count++;
    ((struct pickle_tensor *)machine->tensors.elements)[number] = tensor;
    return push(machine, &(struct value){.kind = TENSOR, .as.tensor = number});
}

/* A call: one of three known functions, described instead. */
static int reduce(struct machine *machine)
{
    uint32_t arguments_number, function_number;
    if (!pop(machine, &arguments_number) || !pop(machine, &function_number))
        return malformed(machine);
    const struct value *arguments = value_at(machine, arguments_number);
    const struct value *function = value_at(machine, function_number);
    if (arguments->kind != TUPLE || function->kind != GLOBAL)
        return malformed(machine);
    switch (function->as.global->global) {
    case ORDERED_DICT:
        return arguments->as.tuple.count == 0 ? push(machine, &(struct value){.kind = DICTIONARY})
                                              : malformed(machine);
    case REBUILD_TENSOR:
        return push_tensor(machine, arguments);
    case REBUILD_PARAMETER:
        if (arguments->as.tuple.count < 1 || element(machine, arguments, 0)->kind != TENSOR)
            return malformed(machine);
        return push_number(machine, item_at(machine, arguments, 0));
    case STORAGE_TYPE:
        break;
    }
    return malformed(machine);
}

/* ---- the whole
 * ------------------------------------------------------------------------------------------------
 */

static int step(struct machine *machine, unsigned char opcode)
{
    const unsigned char *skipped;
    switch (opcode) {
    case 0x80: /* PROTO */
        return take(machine, 1, &skipped) ? 0 : malformed(machine);
    case '(': /* MARK */
        return append_number(machine, &machine->marks, (uint32_t)machine->stack.count, STACK_MAX);
    case 'N': /* NONE */
        return push(machine, &(struct value){.kind = NOTHING});
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return push(machine, &(struct value){.kind = BOOLEAN, .as.number = opcode == 0x88});
    case 'K': /* BININT1 */
        return push_integer(machine, 1, false);
    case 'M': /* BININT2 */
        return push_integer(machine, 2, false);
    case 'J': /* BININT */
        return push_integer(machine, 4, true);
    case 0x8a: /* LONG1 */
        return push_long(machine);
    case 'X': /* BINUNICODE */
        return push_text(machine);
    case 'c': /* GLOBAL */
        return push_global(machine);
    case ')': /* EMPTY_TUPLE */
        return push_short_tuple(machine, 0);
    case 0x85: /* TUPLE1 … TUPLE3 */
    case 0x86:
    case 0x87:
        return push_short_tuple(machine, opcode - 0x84u);
    case 't': /* TUPLE */
        return push_marked_tuple(machine);
    case '}': /* EMPTY_DICT */
        return push(machine, &(struct value){.kind = DICTIONARY});
    case 's': /* SETITEM */
        return set_item(machine);
    case 'u': /* SETITEMS */
        return set_marked_items(machine);
    case 'b': /* BUILD */
        return drop_state(machine);
    case 'q': /* BINPUT */
        return put_memo(machine, 1);
    case 'r': /* LONG_BINPUT */
        return put_memo(machine, 4);
    case 'h': /* BINGET */
        return get_memo(machine, 1);
    case 'j': /* LONG_BINGET */
        return get_memo(machine, 4);
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
            return machine->marks.count == 0 && machine->stack.count == 1 && top(machine, ret)
                       ? 0
                       : malformed(machine);
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
    if (value_at(machine, result)->kind != DICTIONARY)
        return swi_fail(machine->error, SW_EUNSUPPORTED, "the pickle holds no dictionary");
    pickle->tensors = calloc(machine->entries.count + 1, sizeof *pickle->tensors);
    if (!pickle->tensors)
        return swi_fail(machine->error, -ENOMEM, "out of memory");
    const struct entry *entries = machine->entries.elements;
    for (size_t i = 0; i < machine->entries.count; i++) {
        if (entries[i].dictionary != result)
            continue;
        const struct value *key = value_at(machine, entries[i].key);
        const struct value *value = value_at(machine, entries[i].value);
        if (key->kind != TEXT || !usable(key->as.text))
            return swi_fail(machine->error, SW_EUNSUPPORTED,
                            "the dictionary has a key that is no name");
        if (value->kind != TENSOR)
            return swi_fail(machine->error, SW_EUNSUPPORTED,
                            "\"%.*s\" is no tensor; the file must hold a plain state dictionary",
                            (int)(key->as.text.length < 200 ? key->as.text.length : 200),
                            key->as.text.bytes);
        struct pickle_tensor *tensor = &pickle->tensors[pickle->count++];
        *tensor = ((const struct pickle_tensor *)machine->tensors.elements)[value->as.tensor];
        tensor->name = key->as.text.bytes;
        tensor->name_length = key->as.text.length;
        if (!usable((struct span){tensor->storage, tensor->storage_length}))
            return malformed(machine);
    }
    return 0;
}

static void machine_fini(struct machine *machine)
{
    free(machine->values.elements);
    free(machine->stack.elements);
    free(machine->marks.elements);
    free(machine->memo.elements);
    free(machine->items.elements);
    free(machine->entries.elements);
    free(machine->tensors.elements);
}

int pickle_parse(const void *data, size_t size, struct pickle *ret, struct swi_error *error)
{
    if (size > PICKLE_BYTES_MAX)
        return swi_fail(error, SW_EFORMAT, "a pickle of %zu bytes, at most %u are supported", size,
                        PICKLE_BYTES_MAX);
    struct machine machine = {
        .at = data, .end = (const unsigned char *)data + size, .error = error};
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
