"""Best-of-N and speculative rejection as one would write them with Hugging Face transformers.

Every arm takes (peer, prompt tokens, options) and returns (text, tokens generated, rows the model decoded).
"""

from dataclasses import dataclass, field

import torch
from transformers import DynamicCache

from scorer import drawn


@dataclass
class Options:
    n: int
    alpha: float
    checkpoints: list[int]
    max_tokens: int


@dataclass
class Candidate:
    tokens: list[int] = field(default_factory=list)
    ended: bool = False
    score: float = 0.0


def best_of_n(peer, prompt, options):
    """`generate` on N copies of the prompt, which decodes until the longest has ended; then all is read once more for its score."""
    candidates = [Candidate() for _ in range(options.n)]
    rows = write(peer, prompt, candidates, options.max_tokens)
    rows += read(peer, prompt, candidates)
    return result(peer, candidates, rows)


def reference(peer, prompt, options):
    """The way of the paper's reference implementation: a branch is a text. Each round tokenises it again, decodes prompt and
    text of every survivor anew, writes on, drops the cache, reads all once more for the scores, and ranks finished and
    unfinished branches together."""
    candidates, rows, generated = [Candidate() for _ in range(options.n)], 0, 0
    for stop in [*options.checkpoints, options.max_tokens]:
        live = [one for one in candidates if not one.ended]
        before = sum(len(one.tokens) for one in live)
        for one in live:
            one.tokens = peer.encode(peer.decode(one.tokens))
        rows += write(peer, prompt, live, stop)
        generated += sum(len(one.tokens) for one in live) - before
        rows += read(peer, prompt, live)
        if stop < options.max_tokens:
            ranked = sorted(candidates, key=lambda one: -one.score)
            left = ranked[:round((1 - options.alpha) * len(ranked))]
            if not left:  # A lone survivor at alpha 0.5 rounds to none: it is returned as it stands.
                break
            candidates = left
        if all(one.ended for one in candidates):
            break
    return result(peer, candidates, rows, generated)


@torch.no_grad()
def kept(peer, prompt, options):
    """The prompt decoded once, its cache copied; killed and finished rows leave the batch; scores come of the states that decoding left."""
    candidates = [Candidate() for _ in range(options.n)]
    live, cache = list(range(options.n)), DynamicCache()
    out = peer.model.model(input_ids=torch.tensor([prompt]), past_key_values=cache)
    cache.batch_repeat_interleave(options.n)
    states, rows = out.last_hidden_state[:, -1].expand(options.n, -1), len(prompt)
    log, entropy = torch.zeros(options.n, 0), torch.zeros(options.n, 0)
    for step in range(1, options.max_tokens + 1):
        logits = peer.model.lm_head(states)
        tokens = torch.multinomial(logits.float().softmax(-1), 1)[:, 0]
        going = (tokens != peer.end).nonzero()[:, 0]
        for i, token in enumerate(tokens.tolist()):
            if token == peer.end:
                # Its last state is that of the token before the end.
                finish(peer, candidates[live[i]], states[i:i + 1], log[i:i + 1], entropy[i:i + 1])
            else:
                candidates[live[i]].tokens.append(token)
        own = drawn(logits, tokens)
        log, entropy = (torch.cat((all_, new[:, None]), 1) for all_, new in zip((log, entropy), own))
        live, (tokens, log, entropy) = [live[i] for i in going.tolist()], (each[going] for each in (tokens, log, entropy))
        if not live:
            break
        cache.batch_select_indices(going)
        states = peer.model.model(input_ids=tokens[:, None], past_key_values=cache).last_hidden_state[:, -1]
        rows += len(live)
        if step in options.checkpoints or step == options.max_tokens:
            scores = peer.scorer.of(states, log, entropy)
            for place, score in zip(live, scores.tolist()):
                candidates[place].score = score
        if step in options.checkpoints:
            keep = max(1, round((1 - options.alpha) * len(live)))
            order = scores.argsort(descending=True)[:keep].sort().values
            for i in set(range(len(live))) - set(order.tolist()):
                candidates[live[i]].score = float("-inf")
            cache.batch_select_indices(order)
            live = [live[i] for i in order.tolist()]
            states, log, entropy = states[order], log[order], entropy[order]
    return result(peer, candidates, rows)


ARMS = {"transformers best-of-n": best_of_n, "transformers spec-reject, reference's way": reference,
        "transformers spec-reject, cache kept": kept}


def finish(peer, candidate, state, log, entropy):
    candidate.ended = True
    candidate.score = peer.scorer.of(state, log, entropy).item() if candidate.tokens else float("-inf")


@torch.no_grad()
def write(peer, prompt, candidates, stop):
    """Writes on, each up to `stop` tokens; the cache is gone afterwards. Returns the rows decoded, those of padding among them."""
    held = [[*prompt, *one.tokens] for one in candidates]
    width = max(map(len, held))
    ids = torch.tensor([[peer.pad] * (width - len(row)) + row for row in held])
    longest = max(len(one.tokens) for one in candidates)
    if stop <= longest:
        return 0
    out = peer.model.generate(ids, attention_mask=(ids != peer.pad).long(), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                              max_new_tokens=stop - longest, eos_token_id=peer.end, pad_token_id=peer.pad)
    for one, row in zip(candidates, out[:, width:].tolist()):
        one.ended = peer.end in row
        one.tokens += row[:row.index(peer.end)] if one.ended else row
    return len(candidates) * (out.shape[1] - 1)


@torch.no_grad()
def read(peer, prompt, candidates):
    """Scores by a forward pass over prompt and text of each. Returns the rows decoded, those of padding among them."""
    width = max(len(one.tokens) for one in candidates)
    ids = torch.tensor([[*prompt, *one.tokens, *[peer.pad] * (width - len(one.tokens))] for one in candidates])
    states = peer.model.model(input_ids=ids).last_hidden_state[:, len(prompt) - 1:]
    log, entropy = drawn(peer.model.lm_head(states[:, :-1]), ids[:, len(prompt):])
    for i, one in enumerate(candidates):
        count = len(one.tokens)
        scored = peer.scorer.of(states[i:i + 1, count], log[i:i + 1, :count], entropy[i:i + 1, :count]) if count else None
        one.score = float("-inf") if scored is None else scored.item()
    return ids.numel()


def result(peer, candidates, rows, generated=None):
    best = max(candidates, key=lambda one: one.score)
    return peer.decode(best.tokens), sum(len(one.tokens) for one in candidates) if generated is None else generated, rows
