"""Fits the reward head on sampled solutions and writes it as models/winnow-arith.head.gguf.

    python tools/train_head.py --train tools/build/train --validation tools/build/validation

The loss is cross-entropy on whether the finished answer is right, for calibration, plus a ranking loss between the solutions of
one problem, for choosing among them.  Cross-entropy alone spends the head's effort on telling easy problems from hard ones.
Some state values are replaced by their means in every step; without that the head memorises problems from their states and
makes less of the confidence features than one of them does alone.  Every quarter of a solution counts the same.
The epoch with the best validation loss is kept.
"""

import argparse
import copy
from pathlib import Path

import torch
import torch.nn.functional as F

import head as heads
from collected import load
from confidence import NAMES

COMPARISONS = (("linear head", "both", 0), ("features-only head", "features", 128), ("state-only head", "state", 128))


def table(found, part="both"):
    """Inputs [problems, samples, positions, in] of one part: both, state or features."""
    columns = {"both": ("states", "features"), "state": ("states",), "features": ("features",)}[part]
    return torch.cat([found[name].float() for name in columns], -1)


def pairwise(logits, right):
    """Loss of ranking a wrong solution above a right one of the same problem, at every position; logits [problems, samples, positions]."""
    gap = logits[:, :, None] - logits[:, None, :]
    pairs = (right[:, :, None] & ~right[:, None, :])[..., None]
    return (F.softplus(-gap) * pairs).sum() / (pairs.sum() * logits.shape[-1]).clamp(min=1)


def fit(train, validation, part="both", hidden=128, epochs=50, rate=3e-3, decay=0.3, dropout=0.3, ranking=1.0, seed=5, log=print):
    torch.manual_seed(seed)
    x, y = table(train, part), train["right"]
    vx, vy = table(validation, part), validation["right"]
    head = heads.Head(x.shape[-1], hidden)
    flat = x.flatten(0, 2)
    head.mean.copy_(flat.mean(0))
    head.std.copy_(flat.std(0).clamp(min=1e-3))
    confident = torch.zeros(x.shape[-1], dtype=torch.bool)
    if part != "state":
        confident[-len(NAMES):] = True  # never dropped
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=decay)
    batch = 16  # problems
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    best, best_loss = None, float("inf")
    for epoch in range(epochs):
        for rows in torch.randperm(len(x))[:len(x) // batch * batch].split(batch):
            kept = confident | (torch.rand(x.shape[-1]) >= dropout)
            logits = head(torch.where(kept, x[rows], head.mean))
            right = y[rows][..., None].expand_as(logits)
            loss = F.binary_cross_entropy_with_logits(logits, right.float()) + ranking * pairwise(logits, y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            logits = head(vx)
            loss = F.binary_cross_entropy_with_logits(logits, vy[..., None].expand_as(logits).float()).item()
        log(f"{part} epoch {epoch + 1}: validation loss {loss:.4f}", flush=True)
        if loss < best_loss:
            best, best_loss = copy.deepcopy(head), loss
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, nargs="+", default=[Path("tools/build/train")], help="collections of tools/collect.mjs")
    parser.add_argument("--validation", type=Path, nargs="+", default=[Path("tools/build/validation")])
    parser.add_argument("--model", type=Path, default=Path("models/winnow-arith.gguf"))
    parser.add_argument("--out", type=Path, default=Path("models/winnow-arith.head.gguf"))
    parser.add_argument("--comparisons", type=Path, default=Path("tools/build/comparisons.pt"),
                        help="where heads go that are fitted only to be compared with")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train, validation = load(args.train), load(args.validation)
    width = train["states"].shape[-1]
    head = fit(train, validation, hidden=args.hidden, epochs=args.epochs)
    heads.write(head.fold(width), width, args.out, "winnow-arith", args.model)
    print("wrote", args.out, flush=True)
    others = {name: fit(train, validation, part, hidden, args.epochs).state_dict() for name, part, hidden in COMPARISONS}
    torch.save(others, args.comparisons)


if __name__ == "__main__":
    main()
