"""Continues a prompt with PyTorch, token by token: the second opinion that models/fixture.json is made of."""

import torch
import torch.nn.functional as F

import tokenizer as words
from model import rotate


class Decoder:
    """Reads one prompt, then what follows it; `state` is the final-norm state after the last token, [1, width]."""

    def __init__(self, model, prompt):
        self.model, self.position = model, len(prompt)
        self.prompt, self.own = [], []  # keys and values, by layer
        cos, sin = model.cos[:len(prompt)], model.sin[:len(prompt)]
        x = model.embed(torch.tensor([prompt]))
        for layer in model.layers:
            k, v = key_value(layer, layer.attn_norm(x), cos, sin)
            self.prompt.append((k, v))
            self.own.append((k[:, :0], v[:, :0]))
            x = layer(x, cos, sin)
        self.state = model.norm(x[:, -1])

    def step(self, token):
        model, c = self.model, self.model.config
        cos, sin = model.cos[self.position], model.sin[self.position]
        x = model.embed(torch.tensor([[token]]))
        for i, layer in enumerate(model.layers):
            h = layer.attn_norm(x)
            q = rotate(layer.q(h).view(1, c.heads, c.head_size), cos, sin) * c.head_size ** -0.5
            (pk, pv), (ok, ov) = self.prompt[i], self.own[i]
            k, v = key_value(layer, h, cos, sin)
            ok, ov = self.own[i] = torch.cat((ok, k), 1), torch.cat((ov, v), 1)
            weights = torch.cat((torch.bmm(q, pk.mT), torch.bmm(q, ok.mT)), -1).softmax(-1)
            prompt = pk.shape[1]
            a = torch.bmm(weights[..., :prompt], pv) + torch.bmm(weights[..., prompt:], ov)
            x = x + layer.o(a.reshape(1, 1, -1))
            h = layer.ffn_norm(x)
            x = x + layer.down(F.silu(layer.gate(h)) * layer.up(h))
        self.position += 1
        self.state = model.norm(x[:, -1])


def key_value(layer, h, cos, sin):
    """Of the one key-value head: [1, tokens, head_size] each."""
    return rotate(layer.k(h), cos, sin), layer.v(h)


@torch.no_grad()
def sample(model, prompt, count, random_source=None):
    """(tokens, logprobs, entropies), up to EOS at most `count`, each [1, tokens]; the likeliest tokens without `random_source`."""
    decoder = Decoder(model, prompt)
    tokens, logprobs, entropies = [], [], []
    for _ in range(count):
        log = F.log_softmax(model.logits(decoder.state), -1)
        p = log.exp()
        # The likeliest of p/e with e exponential is a draw from p.
        race = log if random_source is None else p / torch.empty_like(p).exponential_(generator=random_source)
        token = race.argmax().item()
        if token == words.EOS:
            break
        tokens.append(token)
        logprobs.append(log[0, token])
        entropies.append(-(p * log).sum())
        decoder.step(token)
    return torch.tensor([tokens]), torch.stack(logprobs)[None], torch.stack(entropies)[None]
