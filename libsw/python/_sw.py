# SPDX-License-Identifier: MIT
"""The ground of sw.py: what include/sw declares, for ctypes; the library; native handles and their ends.

A test holds codes, members, offsets and sizes to the headers. Structs that begin with their size may grow
at their end without this file: what it does not list keeps its default.
"""
import array
import ctypes
import ctypes.util
import enum
import errno
import os
import pathlib
import sysconfig
import threading
import time
import warnings
import weakref
from ctypes import (POINTER, Structure, c_char_p, c_double, c_float, c_int, c_int32, c_size_t, c_ubyte,
                    c_uint32, c_uint64, c_void_p)

class Code(enum.IntEnum):
    """Error codes beyond -errno."""
    EBUSY = -5001
    EREVOKED = -5002
    EFORK = -5003
    EPROTOCOL = -5004
    EVERSION = -5005
    ENOMODEL = -5006
    ENOCOMPONENT = -5007
    EFORMAT = -5008
    EDIGEST = -5009
    EARENAFULL = -5010
    EUNTRUSTED = -5011
    EQUOTA = -5012
    ESTALE = -5013
    ELOAD = -5014
    EUNSUPPORTED = -5015
    EDISCONNECTED = -5016
    EFULL = -5017


class Dtype(enum.IntEnum):
    F32 = 0
    F16 = 1
    BF16 = 2
    I64 = 3


class Layout(enum.IntEnum):
    ROWS = 0
    PANEL = 1


class Pooling(enum.IntEnum):
    DEFAULT = 0
    CLS = 1
    MEAN = 2
    MAX = 3
    POOLER = 4
    MEAN_SQRT_LEN = 5
    WEIGHTED_MEAN = 6
    LAST_TOKEN = 7


class Normalize(enum.IntEnum):
    DEFAULT = 0
    YES = 1
    NO = 2


class Work(enum.IntEnum):
    FORWARD = 1
    EMBED = 2
    CLASSIFY = 3
    FILL = 4


class _Sized(Structure):
    """A struct that begins with its size: the library may know more members than are listed here.
    OverflowError where a member cannot hold its value, instead of what is left of it."""

    def __init__(self, **members):
        super().__init__(size=ctypes.sizeof(self), **members)
        for name, value in members.items():
            if isinstance(value, int) and getattr(self, name) != value:
                raise OverflowError(f"{name} cannot be {value}")


class ClientOptions(_Sized):
    _fields_ = [("size", c_size_t), ("socket_path", c_char_p), ("name", c_char_p), ("timeout_ms", c_int),
                ("any_server_uid", c_int), ("error", c_char_p), ("error_size", c_size_t),
                ("autostart", c_int), ("chunks_dir", c_char_p), ("cache_size", c_char_p),
                ("broker_path", c_char_p)]


class ClientStats(_Sized):
    _fields_ = [("size", c_size_t), ("hits", c_uint64), ("misses", c_uint64), ("prefetches", c_uint64),
                ("reconnects", c_uint64), ("revoked", c_uint64), ("mapped_bytes", c_uint64)]


class ComponentInfo(_Sized):
    _fields_ = [("size", c_size_t), ("name", c_char_p), ("bytes", c_uint64), ("resident", c_int)]


class CLease(Structure):
    _fields_ = [("data", c_void_p), ("bytes", c_uint64), ("model", c_void_p), ("generation", c_uint64),
                ("epoch", c_uint64), ("attachment", c_void_p), ("chunk", c_uint32), ("slot", c_uint32)]


class CTensor(_Sized):
    _fields_ = [("size", c_size_t), ("name", c_char_p), ("data", c_void_p), ("bytes", c_uint64),
                ("shape", c_uint64 * 4), ("strides", c_uint64 * 4), ("rank", c_uint32), ("dtype", c_int),
                ("layout", c_int)]


class CacheInfo(_Sized):
    _fields_ = [("size", c_size_t), ("capacity", c_uint32), ("count", c_uint32), ("hits", c_uint64),
                ("misses", c_uint64), ("private_bytes", c_uint64), ("mapped_bytes", c_uint64),
                ("capacity_bytes", c_uint64), ("evictions", c_uint64)]


class EncodeOptions(_Sized):
    _fields_ = [("size", c_size_t), ("max_tokens", c_uint32), ("truncation", c_int),
                ("without_special_tokens", c_int)]


class Encoding(Structure):
    _fields_ = [("ids", POINTER(c_int32)), ("type_ids", POINTER(c_int32)), ("starts", POINTER(c_uint32)),
                ("count", c_uint32), ("capacity", c_uint32), ("scratch", c_void_p)]


class EncoderOptions(_Sized):
    _fields_ = [("size", c_size_t), ("cache_size", c_uint32), ("threads", c_uint32),
                ("prefetch_count", c_uint32), ("no_prefetch", c_int), ("error", c_char_p),
                ("error_size", c_size_t)]


class EncoderConfig(_Sized):
    _fields_ = [("size", c_size_t)] + [
        (name, c_uint32) for name in ("layers", "hidden_size", "heads", "intermediate_size", "vocab_size",
                                      "max_positions", "type_vocab_size", "labels")] + [
        ("has_pooler", c_int), ("embedding_size", c_uint32), ("max_tokens", c_uint32), ("similarity", c_char_p)]


class EncoderBatch(_Sized):
    _fields_ = [("size", c_size_t), ("sequences", c_uint32), ("lengths", POINTER(c_uint32)),
                ("ids", POINTER(c_int32)), ("type_ids", POINTER(c_int32)), ("mask", POINTER(c_ubyte))]


class EncoderOutput(_Sized):
    _fields_ = [("size", c_size_t), ("last_hidden_state", POINTER(c_float)),
                ("pooler_output", POINTER(c_float))]


class EncoderRequest(_Sized):
    _fields_ = [("size", c_size_t), ("work", c_int), ("batch", POINTER(EncoderBatch)), ("timeout_ms", c_int),
                ("no_prefetch", c_int), ("prefetch_count", c_uint32), ("cancelled", POINTER(c_int32)),
                ("context", c_void_p), ("last_hidden_state", POINTER(c_float)),
                ("pooler_output", POINTER(c_float)), ("pooling", c_int), ("normalize", c_int),
                ("embeddings", POINTER(c_float)), ("embeddings_capacity", c_size_t),
                ("prompt_tokens", c_uint32), ("logits", POINTER(c_float)), ("scores", POINTER(c_float)),
                ("tokens", POINTER(c_uint32)), ("token_count", c_uint32)]


class InferenceStats(_Sized):
    _fields_ = [("size", c_size_t), ("passes", c_uint64), ("tokens", c_uint64), ("mean_ms", c_double),
                ("p50_ms", c_double), ("p99_ms", c_double), ("cache_hit_rate", c_double),
                ("scratch_bytes", c_uint64), ("arena_hit_rate", c_double), ("failed_passes", c_uint64)]


# The C struct behind each class.
STRUCTS = {"sw_client_options": ClientOptions, "sw_client_stats": ClientStats,
           "sw_component_info": ComponentInfo, "sw_lease": CLease, "sw_tensor": CTensor,
           "sw_cache_info": CacheInfo, "sw_encode_options": EncodeOptions, "sw_encoding": Encoding,
           "sw_encoder_options": EncoderOptions, "sw_encoder_config": EncoderConfig, "sw_encoder_batch": EncoderBatch,
           "sw_encoder_output": EncoderOutput,
           "sw_encoder_request": EncoderRequest, "sw_inference_stats": InferenceStats}

_U32S = POINTER(c_uint32)
# name: result, arguments
FUNCTIONS = {
    "sw_strerror": (c_char_p, c_int), "sw_version": (c_char_p,),
    "sw_client_open": (c_int, POINTER(ClientOptions), POINTER(c_void_p)), "sw_client_close": (None, c_void_p),
    "sw_client_message": (c_int, c_void_p, c_char_p, c_size_t),
    "sw_client_socket_path": (c_int, c_void_p, c_char_p, c_size_t),
    "sw_client_get_stats": (c_int, c_void_p, POINTER(ClientStats)),
    "sw_model_open": (c_int, c_void_p, c_char_p, POINTER(c_void_p)), "sw_model_close": (None, c_void_p),
    "sw_model_component_count": (c_uint32, c_void_p),
    "sw_model_component_info": (c_int, c_void_p, c_uint32, POINTER(ComponentInfo)),
    "sw_model_file": (c_int, c_void_p, c_char_p, POINTER(c_void_p), POINTER(c_size_t)),
    "sw_model_prefetch": (c_int, c_void_p, _U32S, c_size_t),
    "sw_model_warmup": (c_int, c_void_p, _U32S, c_size_t),
    "sw_model_get_cache_info": (c_int, c_void_p, POINTER(CacheInfo)),
    "sw_model_cached_names": (c_int, c_void_p, POINTER(c_char_p), c_size_t),
    "sw_model_set_cache_size": (c_int, c_void_p, c_uint32), "sw_model_clear_cache": (None, c_void_p),
    "sw_lease_acquire": (c_int, c_void_p, c_uint32, POINTER(CLease)),
    "sw_lease_release": (c_int, POINTER(CLease)),
    "sw_component_acquire": (c_int, c_void_p, c_uint32, POINTER(c_void_p)),
    "sw_component_release": (c_int, c_void_p), "sw_component_tensor_count": (c_uint32, c_void_p),
    "sw_component_tensor_at": (c_int, c_void_p, c_uint32, POINTER(CTensor)),
    "sw_component_metadata": (c_char_p, c_void_p, c_char_p),
    "sw_tokenizer_encode": (c_int, c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, POINTER(EncodeOptions),
                            POINTER(Encoding)),
    "sw_tokenizer_token": (c_char_p, c_void_p, c_int32), "sw_encoding_fini": (None, POINTER(Encoding)),
    "sw_encoder_open": (c_int, c_void_p, c_char_p, POINTER(EncoderOptions), POINTER(c_void_p)),
    "sw_encoder_close": (None, c_void_p), "sw_encoder_message": (c_int, c_void_p, c_char_p, c_size_t),
    "sw_encoder_get_config": (c_int, c_void_p, POINTER(EncoderConfig)),
    "sw_encoder_tokenizer": (c_int, c_void_p, POINTER(c_void_p)), "sw_encoder_model": (c_void_p, c_void_p),
    "sw_encoder_forward": (c_int, c_void_p, POINTER(EncoderBatch), POINTER(EncoderOutput)),
    "sw_encoder_prompt": (c_int, c_void_p, c_char_p, POINTER(c_char_p), POINTER(c_uint32)),
    "sw_encoder_embedding_size": (c_int, c_void_p, c_int, POINTER(c_uint32)),
    "sw_encoder_run": (c_int, c_void_p, POINTER(EncoderRequest)),
    "sw_encoder_warmup": (c_int, c_void_p, _U32S, c_size_t),
    "sw_encoder_prefetch_next_layers": (c_int, c_void_p, c_uint32, c_uint32),
    "sw_encoder_get_inference_stats": (c_int, c_void_p, POINTER(InferenceStats)),
}


# ---- the library -----------------------------------------------------------------------------------------

def _libraries():
    """Where libsw may be, in the order of asking."""
    named = os.environ.get("SW_LIBRARY")
    if named:
        return [named]
    here = pathlib.Path(__file__).resolve().parent
    build = here.parents[1] / "build/release/libsw.so"             # SOURCE/libsw/python
    prefix = here.parents[1]                                       # PREFIX/lib/python3/dist-packages
    places = [prefix, prefix / (sysconfig.get_config_var("MULTIARCH") or "")]
    found = [str(path) for path in [build] + [place / "libsw.so.1" for place in places] if path.is_file()]
    return found + [name for name in ("libsw.so.1", ctypes.util.find_library("sw")) if name]


def _load():
    faults = []
    for name in _libraries():
        try:
            library = ctypes.CDLL(name)
            for function, (result, *arguments) in FUNCTIONS.items():
                native = getattr(library, function)
                native.restype, native.argtypes = result, arguments
        except (OSError, AttributeError) as fault:
            faults.append(str(fault))
            continue
        if library.sw_version().split(b".")[0] == b"1":
            return library
        faults.append(f"{name} is version {library.sw_version().decode()}, not 1")
    raise ImportError("cannot load libsw: " + "; ".join(faults) + "; name its file with SW_LIBRARY")


library = _load()


def version():
    """The version of the library that is loaded."""
    return library.sw_version().decode()


class Error(Exception):
    """A call of the library failed. code: -errno or a Code; message: what, where, what to do."""

    def __init__(self, code, message=""):
        try:
            self.code = Code(code)
            self.name = "SW_" + self.code.name
        except ValueError:
            self.code = code
            self.name = errno.errorcode.get(-code, str(code))
        self.message = message or library.sw_strerror(code).decode()
        super().__init__(f"{self.message} [{self.name}]")


def to_bytes(text):
    if text is None:
        return text
    text = text if isinstance(text, bytes) else os.fspath(text).encode("utf-8", "surrogateescape")
    if 0 in text:  # C would take what is before it for the whole
        raise ValueError(f"{text!r} has a zero byte")
    return text


def refuse_cut(function, arguments):
    """OverflowError where an integer does not fit its parameter: ctypes would pass what is left of it."""
    for kind, argument in zip(function.argtypes[1:], arguments):
        if isinstance(argument, int) and kind(argument).value != argument:
            raise OverflowError(f"{function.__name__} cannot take {argument}")


def ints(kind, values):
    """A ctypes array of integers; OverflowError where one does not fit, instead of what is left of it."""
    values = array.array({c_int32: "i", c_uint32: "I", c_ubyte: "B"}[kind], values)
    return (kind * len(values)).from_buffer(values)


# ---- native handles ----------------------------------------------------------------------------------------

class Process:
    """Of one client: whether its handles are to be left as they are, because they belong to the parent
    process, or because the interpreter ends under a thread that uses them."""

    def __init__(self):
        self.stranded = False


def forgotten(close, pointer, process, users, parent, mark):
    """When the last reference to a handle has gone, or the interpreter ends. parent is held until then."""
    if users:
        process.stranded = True
    if not process.stranded and end(close, pointer, parent, mark) == Code.EREVOKED:
        warnings.warn("libsw: the broker revoked a lease that was in use: discard what was computed "
                      "from it", RuntimeWarning, stacklevel=2)


def end(close, pointer, parent, mark):
    """Ends the native handle. Until that is done the parent has a mark of it, and does not end."""
    try:
        return close(pointer)
    finally:
        if parent:
            parent.marks.remove(mark)


class Handle:
    """A native handle. What was made from it is ended before it, whoever ends it, and however.

    Without locks, because a fork would copy them as they are: a user notes himself and then looks
    whether the handle is ending; whoever ends it says so and then waits until the users have left. What is
    made from a handle is made during a use of it.
    """
    living = weakref.WeakSet()

    def __init__(self, pointer, close, message=None, parent=None):
        self._pointer, self._close, self._message, self._parent = pointer, close, message, parent
        self.process = parent.process if parent else Process()
        self._children = weakref.WeakSet()
        self._users, self._enders = [], []  # threads
        self.exports = None  # weak reference to what arrays hold
        self.marks, self._mark = [], object()  # of what was made from it and has not ended
        self._finalizer = weakref.finalize(self, forgotten, close, pointer, self.process, self._users, parent,
                                           self._mark)
        if parent:
            parent._children.add(self)
            parent.marks.append(self._mark)
        Handle.living.add(self)

    @property
    def closed(self):
        return not self._finalizer.alive

    def check(self):
        if self._enders or self.closed:
            raise ValueError("the object has been closed or released")
        if self.process.stranded:
            raise Error(Code.EFORK, "this client held leases when the process forked, so it belongs to the parent; "
                                    "open another Client")

    def use(self, function, *arguments):
        """function(pointer, …), with the handle kept from ending meanwhile."""
        thread = threading.get_ident()
        self._users.append(thread)
        try:
            self.check()
            return function(self._pointer, *arguments)
        finally:
            self._users.remove(thread)

    def call(self, function, *arguments):
        """The same for functions that answer a code below 0 on failure."""
        if getattr(function, "argtypes", None):
            refuse_cut(function, arguments)
        result = self.use(function, *arguments)
        if result < 0:
            raise self.error(result)
        return result

    def error(self, code):
        handle = self
        while handle._message is None and handle._parent:
            handle = handle._parent
        text = ctypes.create_string_buffer(1024)
        said = handle._message(handle._pointer, text, len(text)) if handle._message else 0
        # another thread may have failed in between: then the general sentence has to do
        return Error(code, text.value.decode(errors="replace") if said == code else "")

    def refuse_if_seen(self):
        """BufferError while arrays hold this, or what was made from it."""
        for child in list(self._children):
            child.refuse_if_seen()
        if self.exports and self.exports():
            raise BufferError("arrays on these weights still exist: delete or copy them before the lease ends")

    def close(self):
        """Ends what was made from it, then itself, or nothing at all where that is refused. New calls fail
        from now on; those of other threads are waited for."""
        if self.closed:
            return
        if self.process.stranded:
            self.check()
        if threading.get_ident() in self._users:
            raise RuntimeError("this thread is using it")  # a signal's handler came in between
        self._enders.append(None)
        try:
            while self._users:
                time.sleep(0.001)
            self.refuse_if_seen()
            for child in list(self._children):
                child.close()
            while self.marks:  # other threads are ending the rest
                time.sleep(0.001)
            if self._finalizer.detach():
                result = end(self._close, self._pointer, self._parent, self._mark)
                if result is not None and result < 0:
                    raise self.error(result)
        finally:
            self._enders.pop()  # closed by now, or to be used again


def after_fork():
    living = [handle for handle in list(Handle.living) if not handle.closed]
    for handle in living:  # the other threads are not in this process
        handle._users.clear()
        handle._enders.clear()
        handle.marks[:] = [child._mark for child in list(handle._children) if not child.closed]
    for handle in living:
        if isinstance(handle, Pin):
            handle.process.stranded = True


class Pin(Handle):
    """A lease. Arrays hold an Export, which holds this."""

    def export(self, address, size):
        """The bytes at address as a read-only memoryview that keeps the lease."""
        self.check()
        export = self.exports and self.exports()
        if not export:
            export = Export(self)
            self.exports = weakref.ref(export)
        buffer = (c_ubyte * size).from_address(address)
        buffer.export = export
        return memoryview(buffer).cast("B").toreadonly()


class Export:
    def __init__(self, pin):
        self.pin = pin


os.register_at_fork(after_in_child=after_fork)
