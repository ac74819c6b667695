"""Decodes branches of a few prompts with PyTorch: the second opinion that models/fixture.json is made of."""

import json

import torch
import torch.nn.functional as F

import tokenizer as words
from model import rotate


class Decoder:
    """Decodes `samples` branches of each prompt; all branches of a prompt attend to one copy of its keys and values."""

    def __init__(self, model, prompts, samples, longest):
        self.model, self.samples, self.problems = model, samples, len(prompts)
        c = model.config
        self.rows = self.problems * samples
        length = max(map(len, prompts))
        ids = torch.full((self.problems, length), words.PAD)
        for row, prompt in enumerate(prompts):
            ids[row, :len(prompt)] = torch.tensor(prompt)
        self.start = torch.tensor([len(p) for p in prompts]).repeat_interleave(samples)
        self.hidden = (torch.arange(length) >= torch.tensor([len(p) for p in prompts])[:, None])[:, None]
        self.step_count = 0
        self.prompt_keys, self.keys = [], []
        x = model.embed(ids)
        cos, sin = model.cos[:length], model.sin[:length]
        for layer in model.layers:
            h = layer.attn_norm(x)
            k = rotate(layer.k(h)[:, None], cos, sin)[:, 0]  # one key-value head
            v = layer.v(h)
            self.prompt_keys.append((k, v))
            self.keys.append((torch.empty(self.rows, longest, c.head_size), torch.empty(self.rows, longest, c.head_size)))
            x = layer(x, cos, sin)
        last = torch.tensor([len(p) - 1 for p in prompts])
        states = model.norm(x[torch.arange(self.problems), last])
        self.first = states.repeat_interleave(samples, 0)

    def step(self, ids):
        """The final-norm states after one more token in every branch."""
        model, c, t = self.model, self.model.config, self.step_count
        cos, sin = model.cos[self.start + t][:, None, None], model.sin[self.start + t][:, None, None]
        x = model.embed(ids)
        for layer, (pk, pv), (ok, ov) in zip(model.layers, self.prompt_keys, self.keys):
            h = layer.attn_norm(x)
            q = rotate(layer.q(h).view(self.rows, c.heads, 1, c.head_size), cos, sin)[:, :, 0] * c.head_size ** -0.5
            ok[:, t] = rotate(layer.k(h)[:, None, None], cos, sin)[:, 0, 0]
            ov[:, t] = layer.v(h)
            shared = torch.bmm(q.reshape(self.problems, -1, c.head_size), pk.mT).masked_fill_(self.hidden, -torch.inf)
            own = torch.bmm(q, ok[:, :t + 1].mT)
            width = shared.shape[-1]
            weights = torch.cat((shared.view(self.rows, c.heads, width), own), -1).softmax(-1)
            a = torch.bmm(weights[..., :width].reshape(self.problems, -1, width), pv).view(self.rows, c.heads, -1)
            a = a + torch.bmm(weights[..., width:], ov[:, :t + 1])
            x = x + layer.o(a.reshape(self.rows, -1))
            h = layer.ffn_norm(x)
            x = x + layer.down(F.silu(layer.gate(h)) * layer.up(h))
        self.step_count += 1
        return model.norm(x)


@torch.no_grad()
def sample(model, prompts, samples, random_source, longest=420, greedy=False):
    """(tokens, lengths, logprobs, entropies, states, ended) of all branches; lengths leave out EOS."""
    decoder = Decoder(model, prompts, samples, longest)
    tokens, logprobs, entropies, states = [], [], [], []
    lengths = torch.full((decoder.rows,), longest)
    alive = torch.ones(decoder.rows, dtype=torch.bool)
    state = decoder.first
    for t in range(longest):
        log = F.log_softmax(model.logits(state), -1)
        p = log.exp()
        if greedy:
            ids = log.argmax(-1)
        else:
            # The likeliest of p/e with e exponential is a draw from p.
            ids = (p / torch.empty_like(p).exponential_(generator=random_source)).argmax(-1)
        ended = alive & (ids == words.EOS)
        lengths[ended] = t
        alive &= ~ended
        if not alive.any():
            break
        tokens.append(ids)
        logprobs.append(log.gather(1, ids[:, None])[:, 0])
        entropies.append(-(p * log).sum(-1))
        state = decoder.step(ids)
        states.append(state.half())
    return (torch.stack(tokens, 1), lengths, torch.stack(logprobs, 1), torch.stack(entropies, 1), torch.stack(states, 1), ~alive)


def read_tasks(path):
    return [(task["prompt"], task["answer"]) for task in map(json.loads, open(path))]
