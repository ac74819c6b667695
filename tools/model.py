"""A decoder that computes exactly what llama.cpp's "llama" architecture computes.

RMSNorm before attention and feed-forward, rotary positions on interleaved pairs (2i, 2i+1) as in ggml's "normal" mode (so
no permutation on export), grouped-query attention, SwiGLU, no biases, output matrix tied to the embedding.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab: int = 576
    width: int = 192
    layers: int = 8
    heads: int = 3
    kv_heads: int = 1
    head_size: int = 64
    hidden: int = 512
    context: int = 1024
    rope_base: float = 10000.0
    eps: float = 1e-5

    dict = asdict


def rope_table(config):
    rate = config.rope_base ** (-torch.arange(0, config.head_size, 2).float() / config.head_size)
    angle = torch.arange(config.context).float()[:, None] * rate[None]
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """x: [batch, heads, tokens, head_size]; the pair (2i, 2i+1) turns by position * base^(-2i/head_size)."""
    pairs = x.float().unflatten(-1, (-1, 2))
    even, odd = pairs[..., 0], pairs[..., 1]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(x.dtype)


class Norm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.width))
        self.eps = config.eps

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        c = config
        self.attn_norm = Norm(c)
        self.q = nn.Linear(c.width, c.heads * c.head_size, bias=False)
        self.k = nn.Linear(c.width, c.kv_heads * c.head_size, bias=False)
        self.v = nn.Linear(c.width, c.kv_heads * c.head_size, bias=False)
        self.o = nn.Linear(c.heads * c.head_size, c.width, bias=False)
        self.ffn_norm = Norm(c)
        self.gate = nn.Linear(c.width, c.hidden, bias=False)
        self.up = nn.Linear(c.width, c.hidden, bias=False)
        self.down = nn.Linear(c.hidden, c.width, bias=False)

    def forward(self, x, cos, sin, mask=None):
        """`mask`: 0 where a token sees another and -inf elsewhere; without one it sees itself and what stands before it."""
        c = self.config
        batch, tokens, _ = x.shape
        h = self.attn_norm(x)
        q = rotate(self.q(h).view(batch, tokens, c.heads, c.head_size).transpose(1, 2), cos, sin)
        k = rotate(self.k(h).view(batch, tokens, c.kv_heads, c.head_size).transpose(1, 2), cos, sin)
        v = self.v(h).view(batch, tokens, c.kv_heads, c.head_size).transpose(1, 2)
        repeat = c.heads // c.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = x + self.o(a.transpose(1, 2).reshape(batch, tokens, -1))
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Generator(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = Norm(config)
        cos, sin = rope_table(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        nn.init.normal_(self.embed.weight, std=0.05)
        for layer in self.layers:
            for name in ("q", "k", "v", "gate", "up"):
                nn.init.normal_(getattr(layer, name).weight, std=config.width ** -0.5)
            for matrix in (layer.o, layer.down):
                nn.init.normal_(matrix.weight, std=0.5 * (matrix.in_features * 2 * config.layers) ** -0.5)

    def states(self, ids):
        """The states after the final norm: what llama.cpp gives out as embeddings."""
        tokens = ids.shape[1]
        cos, sin = self.cos[:tokens], self.sin[:tokens]
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)

    def logits(self, states):
        return F.linear(states, self.embed.weight)


class Judge(nn.Module):
    """What the trunk is trained to know at every token, read from the final state: whether a mistake has been made so far,
    whether one has been made in this sentence, whether the finished answer will be right; and, from each "=" to the end of
    the sentence, the right result of the equation (three digits), whatever result is written."""

    def __init__(self, width, hidden=96):
        super().__init__()
        self.inner = nn.Linear(width, hidden)
        self.outer = nn.Linear(hidden, 3)
        self.result = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, 30))

    def forward(self, states):
        return self.outer(F.silu(self.inner(states)))


def round_matrices(model):
    """To F16, as an exported file holds them; norms stay F32."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data = parameter.data.half().float()


def load(path):
    """A trained generator, its matrices rounded."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = Generator(Config(**saved["config"]))
    model.load_state_dict(saved["model"])
    round_matrices(model)
    return model.eval()
