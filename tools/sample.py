"""Draws many solutions to each problem at temperature 1 and keeps what the head is fitted on.

    python tools/sample.py --split train --problems 600 --samples 32 --seed 11 --out tools/build/train.pt
    python tools/sample.py --file bench/problems/validation.jsonl --samples 32 --seed 12 --out tools/build/validation.pt
    python tools/sample.py --file bench/problems/heldout.jsonl --samples 64 --seed 13 --out tools/build/heldout.pt

For every solution: whether it is right, its length, and at some positions the final-norm state and the confidence features.
Positions are the ends of the four quarters of the answer (the last one is the last token before EOS) and, with --spread N, N
random ones in each quarter.
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import problems
import tokenizer as words
from confidence import features
from model import load, rotate

QUARTERS = (0.25, 0.5, 0.75, 1.0)


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


def positions(lengths, spread, random_source):
    """Token counts at which to look: the quarters' ends, then `spread` random ones inside each quarter."""
    ends = torch.stack([(lengths * q).ceil().long() for q in QUARTERS], 1)
    if not spread:
        return ends
    begins = torch.cat((torch.zeros(len(ends), 1, dtype=torch.long), ends[:, :-1]), 1)
    share = torch.rand(len(ends), 4, spread, generator=random_source)
    inside = begins[..., None] + 1 + (share * (ends - begins)[..., None]).long()
    return torch.cat((ends, torch.minimum(inside, ends[..., None]).flatten(1)), 1)


def gather(model, tokenizer, tasks, samples, spread, seed, rows_at_once=1024, log=print):
    """`tasks`: (text, answer).  Everything is returned per problem and sample."""
    random_source = torch.Generator().manual_seed(seed)
    encoded = [words.prompt_ids(tokenizer, text) for text, _ in tasks]
    # Problems of like length finish together; the order is restored at the end.
    order = sorted(range(len(tasks)), key=lambda i: tasks[i][0].count(" In "))
    results, begun, done = {}, time.time(), 0
    per_group = max(1, rows_at_once // samples)
    for group in (order[i:i + per_group] for i in range(0, len(order), per_group)):
        tokens, lengths, logprobs, entropies, states, ended = sample(model, [encoded[i] for i in group], samples, random_source)
        at = positions(lengths, spread, random_source)
        confidence = features(logprobs, entropies)
        rows = torch.arange(len(lengths))[:, None]
        texts = tokenizer.decode_batch([row[:n].tolist() for row, n in zip(tokens, lengths)])
        right = torch.tensor([problems.is_right(text, tasks[group[j // samples]][1]) for j, text in enumerate(texts)]) & ended
        packed = dict(right=right, lengths=lengths, at=at, states=states[rows, at - 1], features=confidence[rows, at - 1])
        for j, i in enumerate(group):
            part = slice(j * samples, (j + 1) * samples)
            results[i] = {name: value[part].clone() for name, value in packed.items()} | {"example": texts[j * samples]}
        done += int(lengths.sum())
        log(f"{len(results)} problems, {done} tokens in {time.time() - begun:.0f} s", flush=True)
    return {name: torch.stack([results[i][name] for i in range(len(tasks))]) for name in packed} | \
        {"events": torch.tensor([text.count(" In ") for text, _ in tasks]), "examples": [results[i]["example"] for i in range(len(tasks))], "tokens": done}


def read_tasks(path):
    return [(task["prompt"], task["answer"]) for task in map(json.loads, open(path))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("tools/build/generator.pt"))
    parser.add_argument("--tokenizer", type=Path, default=Path("tools/build/tokenizer.json"))
    parser.add_argument("--file", type=Path, help="problems to solve; without it, fresh ones of --split are drawn")
    parser.add_argument("--split", default="train")
    parser.add_argument("--problems", type=int, default=600)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--spread", type=int, default=0)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.file:
        tasks = read_tasks(args.file)[:args.problems]
    else:
        rng = random.Random(args.seed)
        chosen = problems.problem_set(args.split, args.problems, rng.random(), problems.STEP_WEIGHTS)
        tasks = [(p.text, str(p.answer)) for p in chosen]
    found = gather(load(args.checkpoint), words.load(args.tokenizer), tasks, args.samples, args.spread, args.seed)
    torch.save(found, args.out)
    rate = found["right"].float().mean(1)
    print(f"right: mean {rate.mean():.3f}  p10 {rate.quantile(0.1):.3f}  p90 {rate.quantile(0.9):.3f}  "
          f"any {(rate > 0).float().mean():.3f}  tokens per solution {found['lengths'].float().mean():.0f}")
    for events in found["events"].unique().tolist():
        some = rate[found["events"] == events]
        print(f"  {events} events: {len(some)} problems, right {some.mean():.3f}, any {(some > 0).float().mean():.3f}")
    print(found["examples"][0])


if __name__ == "__main__":
    main()
