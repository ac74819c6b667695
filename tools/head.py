"""The reward head: a small network on (final-norm state, confidence features) whose output is the logit of "will be right"."""

import hashlib

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from confidence import NAMES, WINDOW


class Head(nn.Module):
    """`hidden` = 0 gives a linear head.  Inputs are standardised; `fold` moves the states' part of that into the weights."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.inner = nn.Linear(inputs, hidden) if hidden else None
        self.outer = nn.Linear(hidden or inputs, 1)

    def forward(self, x):
        x = (x - self.mean) / self.std
        if self.inner is not None:
            x = F.silu(self.inner(x))
        return self.outer(x)[..., 0]

    @torch.no_grad()
    def fold(self, width):
        first = self.outer if self.inner is None else self.inner
        first.weight[:, :width] /= self.std[:width]
        first.bias -= first.weight[:, :width] @ self.mean[:width]
        self.mean[:width] = 0
        self.std[:width] = 1
        return self


def file_hash(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


class Writer(gguf.GGUFWriter):
    """Also writes arrays that are empty, as those of a head without features are."""

    def _pack_val(self, val, vtype, add_vtype, sub_type=None):
        if vtype == gguf.GGUFValueType.ARRAY and len(val) == 0:
            return (self._pack("I", vtype) if add_vtype else b"") + self._pack("I", sub_type) + self._pack("Q", 0)
        return super()._pack_val(val, vtype, add_vtype, sub_type)


def write(head, width, path, name, model_path):
    """Writes a folded head, one that reads the features or states alone."""
    writer = Writer(path, "winnow-head")
    key, array = "winnow.head.", gguf.GGUFValueType.ARRAY
    mean, std = head.mean[width:].tolist(), head.std[width:].tolist()
    writer.add_name(name)
    writer.add_uint32(key + "version", 1)
    writer.add_uint32(key + "width", width)
    writer.add_string(key + "layer", "final-norm")
    writer.add_string(key + "kind", "linear" if head.inner is None else "mlp")
    writer.add_uint32(key + "hidden", 0 if head.inner is None else head.inner.out_features)
    writer.add_string(key + "activation", "silu")
    writer.add_string(key + "output", "logit")
    writer.add_uint32(key + "window", WINDOW)
    writer.add_key_value(key + "features", NAMES if mean else [], array, gguf.GGUFValueType.STRING)
    writer.add_key_value(key + "feature_mean", mean, array, gguf.GGUFValueType.FLOAT32)
    writer.add_key_value(key + "feature_std", std, array, gguf.GGUFValueType.FLOAT32)
    writer.add_string(key + "trained_on", name)
    writer.add_string(key + "model_sha256", file_hash(model_path))
    layers = {"head": head.outer} if head.inner is None else {"head.0": head.inner, "head.1": head.outer}
    for prefix, layer in layers.items():
        writer.add_tensor(prefix + ".weight", layer.weight.detach().numpy().astype(np.float32))
        writer.add_tensor(prefix + ".bias", layer.bias.detach().numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(path):
    reader = gguf.GGUFReader(path)
    tensors = {t.name: torch.from_numpy(t.data.copy()) for t in reader.tensors}
    width = int(reader.get_field("winnow.head.width").contents())
    linear = "head.weight" in tensors
    weight = tensors["head.weight" if linear else "head.0.weight"]
    head = Head(weight.shape[1], 0 if linear else weight.shape[0])
    layers = {"head": head.outer} if linear else {"head.0": head.inner, "head.1": head.outer}
    for prefix, layer in layers.items():
        layer.weight.data = tensors[prefix + ".weight"].reshape(layer.weight.shape)
        layer.bias.data = tensors[prefix + ".bias"].reshape(layer.bias.shape)
    for name in ("mean", "std"):
        getattr(head, name)[width:] = torch.tensor(reader.get_field(f"winnow.head.feature_{name}").contents())
    return head.eval(), width
