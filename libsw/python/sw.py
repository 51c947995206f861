# SPDX-License-Identifier: MIT
"""Surfing Weights from Python: model weights in shared memory, read in place, and BERT on them.

    import sw
    with sw.Client() as client:
        with client.model("minilm") as model, model.component("layer_0") as layer:
            print(layer["intermediate.dense.weight"].shape)     # NumPy, read-only, on the arena's bytes
        vectors = sw.Encoder(client, "minilm").embed(["Hello world"], normalize=True)

Needs only ctypes, in two files, this and _sw.py. libsw.so is $SW_LIBRARY, else that of the build or
installation that they are part of, else the system's. Tensors are NumPy arrays, or memoryviews without NumPy.

Lifetimes. A tensor is valid while its component is leased, so each array (and each view of it) holds
the lease. Releasing the lease, or leaving its `with` block, while such arrays exist raises BufferError: delete
or copy them first. (If an exception ends the block, the lease ends with the last array instead.) Arrays and
leases that are dropped are closed automatically; if the broker had revoked the lease by then, this issues a
RuntimeWarning where release() would have raised Error with EREVOKED.

Threads may share everything except a component or lease; closing waits for the calls of other threads. After
os.fork() the child may keep using a client, which opens a new session. A client that held leases at the fork
stays the parent's (Error, EFORK), and its arrays are readable in the child only while the parent holds them:
open another Client there.
"""
import ctypes
import os
import sys
from collections import namedtuple
from ctypes import POINTER, byref, c_char_p, c_float, c_int32, c_size_t, c_ubyte, c_uint32, c_void_p

from _sw import (EncoderBatch, EncoderConfig, EncoderOptions, EncoderOutput, EncoderRequest, CacheInfo, ClientOptions,
                 ClientStats,
                 CLease, Code, ComponentInfo, CTensor, Dtype, EncodeOptions, Encoding, Error, Handle,
                 InferenceStats, Layout, Normalize, Pin, Pooling, Work, ints, library as _sw, to_bytes, version)

try:
    import numpy
except ImportError:
    numpy = None

__all__ = ["Client", "Code", "Component", "Dtype", "Encoder", "Error", "Layout", "Lease", "Model", "Pooling",
           "Tensor", "version", "widen"]

PANEL_WIDTH = 16
PASS_TOKENS = 4096  # of one pass: more texts are computed in several, with the same result bit for bit

_free = ctypes.CDLL(None).free
_free.restype, _free.argtypes = None, [c_void_p]


class _Closing:
    """Shared by the public classes: `with`, close, and a handle."""

    def __enter__(self):
        self._handle.check()
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.close()
        except (BufferError, Error):
            if kind is None:
                raise
            # the frames of the exception hold arrays: the lease ends with the last of them

    def close(self):
        self._handle.close()


def _record(struct):
    """A filled struct as a named tuple, its size left out, its texts decoded."""
    names = [field[0] for field in struct._fields_ if field[0] != "size"]
    values = [getattr(struct, name) for name in names]
    return namedtuple(type(struct).__name__, names)(
        *[value.decode() if isinstance(value, bytes) else value for value in values])


# ---- client and models ---------------------------------------------------------------------------------------

class Client(_Closing):
    """A session with the broker. timeout: limit of each wait for it in seconds, None waits forever.

    autostart: True starts a private broker if none answers, False never does, None follows SW_AUTOSTART;
    chunks_dir, cache_size and broker configure that broker (sw_client(3)).
    """

    def __init__(self, socket=None, *, name=None, timeout=30.0, any_server_uid=False, autostart=None,
                 chunks_dir=None, cache_size=None, broker=None):
        text = ctypes.create_string_buffer(1024)
        program = os.path.basename(sys.argv[0] if sys.argv else "") or "python"
        options = ClientOptions(
            socket_path=to_bytes(socket), name=to_bytes(name or program),
            timeout_ms=-1 if timeout is None else max(1, round(timeout * 1000)),
            any_server_uid=any_server_uid, error=ctypes.cast(text, c_char_p), error_size=len(text),
            autostart=0 if autostart is None else 1 if autostart else -1, chunks_dir=to_bytes(chunks_dir),
            cache_size=to_bytes(None if cache_size is None else str(cache_size)), broker_path=to_bytes(broker))
        pointer = c_void_p()
        result = _sw.sw_client_open(byref(options), byref(pointer))
        if result < 0:
            raise Error(result, text.value.decode(errors="replace"))
        self._handle = Handle(pointer, _sw.sw_client_close, _sw.sw_client_message)

    def model(self, name):
        return Model(self, name)

    def encoder(self, name, **options):
        return Encoder(self, name, **options)

    @property
    def socket_path(self):
        """The path of the current session, which a private broker changes."""
        text = ctypes.create_string_buffer(4096)
        self._handle.call(_sw.sw_client_socket_path, text, len(text))
        return os.fsdecode(text.value)

    def stats(self):
        stats = ClientStats()
        self._handle.call(_sw.sw_client_get_stats, byref(stats))
        return _record(stats)


class Model(_Closing):
    """The current revision of a model. Components are given by name, or by number in the order of a pass."""

    def __init__(self, client, name):
        def open_model(native):
            pointer = c_void_p()
            result = _sw.sw_model_open(native, to_bytes(name), byref(pointer))
            if result == 0:
                self._handle = Handle(pointer, _sw.sw_model_close, parent=client._handle)
            return result

        client._handle.call(open_model)
        self._begin(name, self._handle)

    def _begin(self, name, handle):
        self.name, self._handle = name, handle
        count = handle.use(_sw.sw_model_component_count)
        self.components = tuple(self.info(number).name for number in range(count))
        return self

    def __len__(self):
        return len(self.components)

    def _number(self, component):
        if isinstance(component, str):
            try:
                return self.components.index(component)
            except ValueError:
                raise Error(Code.ENOCOMPONENT, f"model {self.name} has no component {component}") from None
        if not 0 <= component < len(self.components):
            raise Error(Code.ENOCOMPONENT, f"model {self.name} has no component {component}")
        return component

    def _numbers(self, components):
        numbers = ints(c_uint32, [self._number(component) for component in components])
        return numbers, len(numbers)

    def info(self, component):
        """name, bytes, and whether it is resident now."""
        info = ComponentInfo()
        number = self._number(component) if hasattr(self, "components") else component
        self._handle.call(_sw.sw_model_component_info, number, byref(info))
        return _record(info)

    def component(self, component):
        """Leases a chunk and returns its tensors; loads it first if it is absent."""
        return Component(self, self._number(component))

    def lease(self, component):
        """Leases the raw bytes of a chunk, a safetensors file."""
        return Lease(self, self._number(component))

    def file(self, path):
        """The bytes of a small file of the model's directory, such as config.json."""
        data, size = c_void_p(), c_size_t()
        self._handle.call(_sw.sw_model_file, to_bytes(path), byref(data), byref(size))
        try:
            return ctypes.string_at(data, size.value)
        finally:
            _free(data)

    def prefetch(self, components):
        """Asks the broker to load components soon; returns at once."""
        self._handle.call(_sw.sw_model_prefetch, *self._numbers(components))

    def warmup(self, components=None):
        """Waits until these components (all of them by default) have been loaded once."""
        names = self.components if components is None else components
        self._handle.call(_sw.sw_model_warmup, *self._numbers(names))

    def cache_info(self):
        """The state of the cache of parsed components; names: most recently used first."""
        info = CacheInfo()
        self._handle.call(_sw.sw_model_get_cache_info, byref(info))
        names = (c_char_p * len(self))()
        count = self._handle.call(_sw.sw_model_cached_names, names, len(self))
        record = _record(info)
        return namedtuple("CacheInfo", record._fields + ("names",))(
            *record, tuple(name.decode() for name in names[:min(count, len(self))]))

    def set_cache_size(self, components):
        self._handle.call(_sw.sw_model_set_cache_size, components)

    def clear_cache(self):
        self._handle.use(_sw.sw_model_clear_cache)


# ---- leases and tensors ----------------------------------------------------------------------------------------

class Lease(_Closing):
    """The bytes of a chunk, in place. data: a read-only memoryview."""

    def __init__(self, model, number):
        self._lease = CLease()

        def acquire(native):
            result = _sw.sw_lease_acquire(native, number, byref(self._lease))
            if result == 0:  # the struct is the handle: whoever ends it has it as an argument
                self._handle = Pin(self._lease, lambda lease: _sw.sw_lease_release(byref(lease)),
                                   parent=model._handle)
            return result

        model._handle.call(acquire)
        self.nbytes = self._lease.bytes

    @property
    def data(self):
        return self._handle.export(self._lease.data, self._lease.bytes)

    def release(self):
        """Raises Error with EREVOKED if the broker revoked the lease: what was read may be wrong."""
        self.close()


class Component(_Closing):
    """A leased chunk with its tensors: a mapping of names to arrays on the arena's bytes."""

    def __init__(self, model, number):
        def acquire(native):
            pointer = c_void_p()
            result = _sw.sw_component_acquire(native, number, byref(pointer))
            if result == 0:
                self._handle = Pin(pointer, _sw.sw_component_release, parent=model._handle)
            return result

        self.name = model.info(number).name
        model._handle.call(acquire)
        self._structs = {}  # not Tensor objects: these hold the component, which must go with its last user
        for index in range(self._handle.use(_sw.sw_component_tensor_count)):
            struct = CTensor()
            self._handle.call(_sw.sw_component_tensor_at, index, byref(struct))
            self._structs[struct.name.decode()] = struct

    def release(self):
        """Raises Error with EREVOKED if the broker revoked the lease: what was read may be wrong."""
        self.close()

    def tensor(self, name):
        try:
            return Tensor(self, name, self._structs[name])
        except KeyError:
            raise Error(Code.ENOCOMPONENT, f"component {self.name} has no tensor {name}") from None

    def __getitem__(self, name):
        return self.tensor(name).array

    def __iter__(self):
        return iter(self._structs)

    def __len__(self):
        return len(self._structs)

    def __contains__(self, name):
        return name in self._structs

    def keys(self):
        return self._structs.keys()

    def items(self):
        return ((name, self[name]) for name in self)

    def metadata(self, key):
        """A value of the chunk's __metadata__, or None."""
        value = self._handle.use(_sw.sw_component_metadata, to_bytes(key))
        return None if value is None else value.decode()


# element types as NumPy and as memoryview.cast know them; neither has bfloat16, the latter no float16
_NUMPY = {Dtype.F32: "<f4", Dtype.F16: "<f2", Dtype.BF16: "<u2", Dtype.I64: "<i8"}
_CASTS = {Dtype.F32: "f", Dtype.F16: "H", Dtype.BF16: "H", Dtype.I64: "q"}


class Tensor:
    """The place, type and shape of a tensor. array: the tensor itself.

    A matrix W[N][K] in Layout.PANEL has the shape (ceil(N/16), K, 16): panel p holds rows 16p … 16p+15,
    interleaved by column. bfloat16 is given as its bits in uint16: see widen.
    """

    def __init__(self, component, name, struct):
        self._component, self._address = component, struct.data
        self.name, self.nbytes = name, struct.bytes
        self.dtype, self.layout = Dtype(struct.dtype), Layout(struct.layout)
        self.shape = tuple(struct.shape[:struct.rank])
        self.strides = tuple(struct.strides[:struct.rank])  # in elements

    @property
    def array(self):
        """A read-only array (without NumPy a memoryview) on the arena's bytes."""
        bytes_ = self._component._handle.export(self._address, self.nbytes)
        if numpy is not None:
            return numpy.frombuffer(bytes_, _NUMPY[self.dtype]).reshape(self.shape)
        return bytes_.cast(_CASTS[self.dtype], self.shape) if self.shape else bytes_.cast(_CASTS[self.dtype])

    def rows(self, count=None):
        """A copy as an ordinary matrix [N, K], for NumPy. count: N, by default the length of its
        bias."""
        if numpy is None:
            raise ImportError("rows() needs NumPy (Debian: python3-numpy)")
        if self.layout != Layout.PANEL:
            return self.array[:count].copy()
        panels, columns, _ = self.shape
        if count is None:
            bias = self.name.rpartition(".")[0] + ".bias"
            if bias not in self._component:
                raise ValueError(f"{self.name} has no {bias}: pass the number of its rows")
            count = self._component.tensor(bias).shape[0]
        if not 0 <= count <= panels * PANEL_WIDTH:
            raise ValueError(f"{self.name} has {panels * PANEL_WIDTH} rows at most, but {count} were requested")
        return self.array.transpose(0, 2, 1).reshape(panels * PANEL_WIDTH, columns)[:count].copy()

    def __repr__(self):
        return f"<{self.name} {self.dtype.name} {self.layout.name.lower()} {list(self.shape)}>"


def widen(array):
    """A float32 copy of bfloat16 bits (uint16), float16 or float32."""
    if numpy is None:
        raise ImportError("widen() needs NumPy (Debian: python3-numpy)")
    if array.dtype == numpy.uint16:
        return (array.astype(numpy.uint32) << 16).view(numpy.float32)
    return array.astype(numpy.float32)


# ---- BERT --------------------------------------------------------------------------------------------------------

Encoded = namedtuple("Encoded", "ids type_ids tokens")
Output = namedtuple("Output", "last_hidden_state pooler_output")


def _floats(*shape):
    """A new array of floats, or memoryview, and its address."""
    if numpy is not None:
        floats = numpy.empty(shape, numpy.float32)
        return floats, floats.ctypes.data
    size = 1
    for length in shape:
        size *= length
    buffer = (c_float * size)()
    return memoryview(buffer).cast("B").cast("f", shape), ctypes.addressof(buffer)


def _at(address, floats):
    return ctypes.cast(address + 4 * floats, POINTER(c_float))


class Encoder(_Closing):
    """A BERT model: a forward pass on the shared weights. One pass at a time; open one per thread to compute
    in parallel. The GIL is not held meanwhile. The options are those of sw_encoder_open, 0 for the default."""

    def __init__(self, client, name, *, threads=0, cache_size=0, prefetch_count=0, prefetch=True):
        text = ctypes.create_string_buffer(1024)
        options = EncoderOptions(cache_size=cache_size, threads=threads, prefetch_count=prefetch_count,
                              no_prefetch=not prefetch, error=ctypes.cast(text, c_char_p), error_size=len(text))

        def open_bert(native):
            pointer = c_void_p()
            result = _sw.sw_encoder_open(native, to_bytes(name), byref(options), byref(pointer))
            if result == 0:
                self._handle = Handle(pointer, _sw.sw_encoder_close, _sw.sw_encoder_message, client._handle)
            return result

        result = client._handle.use(open_bert)
        if result < 0:
            raise Error(result, text.value.decode(errors="replace"))
        config = EncoderConfig()
        self._handle.call(_sw.sw_encoder_get_config, byref(config))
        self.config = _record(config)
        borrowed = c_void_p(self._handle.use(_sw.sw_encoder_model))
        self.model = Model.__new__(Model)._begin(
            name, Handle(borrowed, lambda model: None, parent=self._handle))
        self.token_limit = self.config.max_tokens

    def tokenize(self, text, pair=None, *, max_tokens=None, special_tokens=True):
        """ids, type_ids and tokens of a text or a pair, cut to max_tokens (default token_limit; 0: not cut)."""
        tokenizer, encoding = c_void_p(), Encoding()
        self._handle.call(_sw.sw_encoder_tokenizer, byref(tokenizer))
        options = EncodeOptions(max_tokens=self.token_limit if max_tokens is None else max_tokens,
                                without_special_tokens=not special_tokens)
        first, second = [None if part is None else part.encode("utf-8", "surrogatepass")
                         for part in (text, pair)]

        def encode(_):  # the tokenizer is the handle's
            result = _sw.sw_tokenizer_encode(tokenizer, first, len(first), second, len(second or b""),
                                             byref(options), byref(encoding))
            ids = encoding.ids[:encoding.count] if result == 0 else []
            types = encoding.type_ids[:encoding.count] if result == 0 else []
            return result, ids, types, [_sw.sw_tokenizer_token(tokenizer, number).decode() for number in ids]

        try:
            result, *encoded = self._handle.use(encode)
        finally:
            _sw.sw_encoding_fini(byref(encoding))
        if result < 0:
            raise Error(result)
        return Encoded(*encoded)

    def _batch(self, sequences, type_ids=None, masks=None):
        """The struct for these; type_ids and masks lie beside the ids."""
        joined = [number for sequence in sequences for number in sequence]
        batch = EncoderBatch(sequences=len(sequences),
                          lengths=ints(c_uint32, [len(sequence) for sequence in sequences]),
                          ids=ints(c_int32, joined))
        for member, kind, given in (("type_ids", c_int32, type_ids), ("mask", c_ubyte, masks)):
            if given is None:
                continue
            if [len(part) for part in given] != [len(sequence) for sequence in sequences]:
                raise ValueError(f"{member} must have the same lengths as ids")
            setattr(batch, member, ints(kind, [number for part in given for number in part]))
        return batch

    def _prompt(self, name):
        """The text in front of every text, and how many tokens of it are not pooled."""
        if name is False:
            return "", 0
        text, tokens = c_char_p(), c_uint32()
        self._handle.call(_sw.sw_encoder_prompt, None if name is None else to_bytes(name), byref(text),
                          byref(tokens))
        return text.value.decode(), tokens.value

    def embed(self, texts, *, pooling="default", normalize=None, prompt=None, max_tokens=None):
        """One vector [config.embedding_size] for a text, [texts, embedding_size] for several.

        Defaults are the model's settings. pooling: cls, mean, max, pooler, mean_sqrt_len, weighted_mean,
        last_token, default. normalize: True scales vectors to length 1, False leaves the model's Normalize
        out. prompt: the name of one of the model's prompts, False for none."""
        single = isinstance(texts, str)
        before, prompt_tokens = self._prompt(prompt)
        encoded = [self.tokenize(before + text, max_tokens=max_tokens).ids
                   for text in ([texts] if single else texts)]
        method = Pooling[pooling.upper()] if isinstance(pooling, str) else Pooling(pooling)
        size = c_uint32()
        self._handle.call(_sw.sw_encoder_embedding_size, method, byref(size))
        width, done = size.value, 0
        vectors, address = _floats(len(encoded), width)
        while done < len(encoded):
            end, tokens = done + 1, len(encoded[done])
            while end < len(encoded) and tokens + len(encoded[end]) <= PASS_TOKENS:
                tokens += len(encoded[end])
                end += 1
            batch = self._batch(encoded[done:end])
            request = EncoderRequest(work=Work.EMBED, batch=ctypes.pointer(batch), pooling=method,
                                     normalize=Normalize.DEFAULT if normalize is None
                                     else Normalize.YES if normalize else Normalize.NO,
                                     prompt_tokens=prompt_tokens, embeddings=_at(address, done * width),
                                     embeddings_capacity=(end - done) * width)
            self._handle.call(_sw.sw_encoder_run, byref(request))
            done = end
        if not single:
            return vectors
        return vectors[0] if numpy is not None else vectors.cast("B").cast("f")

    def forward(self, ids, type_ids=None, mask=None):
        """One pass over a sequence of token ids, or over several. last_hidden_state: [tokens, hidden_size],
        or a list of these; pooler_output: [hidden_size], or [sequences, hidden_size]; None without pooler."""
        single = len(ids) > 0 and not hasattr(ids[0], "__len__")
        if single:
            ids, type_ids, mask = [part if part is None else [part] for part in (ids, type_ids, mask)]
        batch = self._batch(ids, type_ids, mask)
        width = self.config.hidden_size
        tokens = sum(len(sequence) for sequence in ids)
        hidden, hidden_at = _floats(tokens, width)
        pooled, pooled_at = _floats(len(ids), width) if self.config.has_pooler else (None, None)
        output = EncoderOutput(last_hidden_state=_at(hidden_at, 0))
        if pooled is not None:
            output.pooler_output = _at(pooled_at, 0)
        self._handle.call(_sw.sw_encoder_forward, byref(batch), byref(output))
        if single:
            if pooled is not None:
                pooled = pooled[0] if numpy is not None else pooled.cast("B").cast("f")
            return Output(hidden, pooled)
        parts, done = [], 0
        for sequence in ids:
            parts.append(hidden[done:done + len(sequence)])
            done += len(sequence)
        return Output(parts, pooled)

    def warmup(self, layers=None):
        """Waits until these layers (all of them by default) have been loaded once."""
        layers = ints(c_uint32, range(self.config.layers) if layers is None else layers)
        self._handle.call(_sw.sw_encoder_warmup, layers, len(layers))

    def prefetch_next_layers(self, current, count=1):
        self._handle.call(_sw.sw_encoder_prefetch_next_layers, current, count)

    def stats(self):
        """Passes, tokens, their times, and the hit rate of the component cache."""
        stats = InferenceStats()
        self._handle.call(_sw.sw_encoder_get_inference_stats, byref(stats))
        return _record(stats)

    def cache_info(self):
        return self.model.cache_info()

    def set_cache_size(self, components):
        self.model.set_cache_size(components)

    def clear_cache(self):
        self.model.clear_cache()
