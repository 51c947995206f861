# SPDX-License-Identifier: MIT
"""Writers of checkpoints for tests: safetensors and torch archives, with the standard library alone.

A tensor is (dtype, shape, bytes), in the order of a dictionary.
"""
import collections
import io
import json
import pickle
import struct
import sys
import types
import zipfile


def load_safetensors(path):
    """{name: (dtype, shape, bytes)}"""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, data = json.loads(data[8:8 + size]), data[8 + size:]
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
            for name, entry in header.items()}


def save_safetensors(path, tensors):
    header, parts, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


# ---- torch.save ------------------------------------------------------------------------------------------

def _rebuild_tensor_v2(*arguments):
    raise AssertionError("only its name is written")


class FloatStorage:
    """Only its name is written."""


_rebuild_tensor_v2.__module__ = "torch._utils"
FloatStorage.__module__ = "torch"


class _Storage:
    def __init__(self, key, elements):
        self.key, self.elements = key, elements


class _Tensor:
    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return _rebuild_tensor_v2, self.arguments


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, _Storage):
            return "storage", FloatStorage, value.key, "cpu", value.elements
        return None


def rows(shape):
    """The strides of a tensor whose rows follow each other."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.insert(0, step)
        step *= length
    return strides


def save_torch(path, tensors, protocol=2, strides=None):
    """F32 tensors; strides: {name: strides} of those that are not stored by rows."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    utils._rebuild_tensor_v2, torch.FloatStorage, torch._utils = _rebuild_tensor_v2, FloatStorage, utils
    sys.modules["torch"], sys.modules["torch._utils"] = torch, utils  # pickle looks the names up
    try:
        state, buffer = collections.OrderedDict(), io.BytesIO()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for number, (name, (_, shape, data)) in enumerate(tensors.items()):
                steps = (strides or {}).get(name) or rows(shape)
                state[name] = _Tensor(_Storage(str(number), len(data) // 4), 0, tuple(shape), tuple(steps),
                                      False, collections.OrderedDict())
                archive.writestr(f"archive/data/{number}", data)
            _Pickler(buffer, protocol).dump(state)
            archive.writestr("archive/data.pkl", buffer.getvalue())
            archive.writestr("archive/version", "3\n")
    finally:
        del sys.modules["torch"], sys.modules["torch._utils"]
