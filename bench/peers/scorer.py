"""Winnow's reward head over transformers' states: the score of a text is that of the engine, so that arms differ in how they decode."""

import sys
from pathlib import Path

import gguf
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from confidence import features  # noqa: E402


class Scorer:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        tensors = {tensor.name: torch.tensor(tensor.data.copy()) for tensor in reader.tensors}
        self.layers = [(tensors[f"head.{i}.weight"], tensors[f"head.{i}.bias"]) for i in range(2)]
        self.mean, self.std = (torch.tensor(reader.fields[f"winnow.head.feature_{name}"].contents()) for name in ("mean", "std"))

    def of(self, states, logprobs, entropies):
        """[rows, width] states after the last token, and the token rows they followed, [rows, tokens] -> [rows] logits."""
        confidence = (features(logprobs, entropies)[:, -1] - self.mean) / self.std
        hidden = F.silu(F.linear(torch.cat((states, confidence), -1), *self.layers[0]))
        return F.linear(hidden, *self.layers[1])[:, 0]


def drawn(logits, tokens):
    """Log-probability of each token and entropy of what it was drawn from: [..., vocab], [...] -> twice [...]."""
    log = F.log_softmax(logits.float(), -1)
    return log.gather(-1, tokens[..., None])[..., 0], -(log.exp() * log).sum(-1)
