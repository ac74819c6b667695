"""Fits the reward head on sampled solutions and writes it as models/winnow-arith.head.gguf.

    python tools/train_head.py --train tools/build/train.pt --validation tools/build/validation.pt

Every solution counts the same, and so does every quarter of it.  The head with the best validation loss is kept.
"""

import argparse
import copy
from pathlib import Path

import torch
import torch.nn.functional as F

import head as heads
from confidence import NAMES


def table(found, part="both"):
    """Inputs [problems, samples, positions, in] of one part: both, state or features."""
    columns = {"both": ("states", "features"), "state": ("states",), "features": ("features",)}[part]
    return torch.cat([found[name].float() for name in columns], -1)


def pairwise(logits, right):
    """Loss of ranking a wrong solution above a right one of the same problem; [problems, samples]."""
    gap = logits[:, :, None] - logits[:, None, :]
    pairs = right[:, :, None] & ~right[:, None, :]
    return (F.softplus(-gap) * pairs).sum() / pairs.sum().clamp(min=1)


def fit(train, validation, part="both", hidden=96, epochs=12, rate=2e-3, decay=0.02, ranking=0.0, seed=5, log=print):
    torch.manual_seed(seed)
    x, y = table(train, part), train["right"]
    vx, vy = table(validation, part), validation["right"]
    head = heads.Head(x.shape[-1], hidden)
    flat = x.flatten(0, 2)
    head.mean.copy_(flat.mean(0))
    head.std.copy_(flat.std(0).clamp(min=1e-3))
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=decay)
    batch = 16  # problems
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    best, best_loss = None, float("inf")
    for epoch in range(epochs):
        head.train()
        for rows in torch.randperm(len(x))[:len(x) // batch * batch].split(batch):
            logits = head(x[rows])
            right = y[rows][..., None].expand_as(logits)
            loss = F.binary_cross_entropy_with_logits(logits, right.float())
            if ranking:
                loss = loss + ranking * sum(pairwise(logits[..., i], y[rows]) for i in range(4)) / 4
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        head.eval()
        with torch.no_grad():
            logits = head(vx)
            loss = F.binary_cross_entropy_with_logits(logits, vy[..., None].expand_as(logits).float()).item()
        log(f"{part} epoch {epoch + 1}: validation loss {loss:.4f}")
        if loss < best_loss:
            best, best_loss = copy.deepcopy(head), loss
    return best, best_loss


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, default=Path("tools/build/train.pt"))
    parser.add_argument("--validation", type=Path, default=Path("tools/build/validation.pt"))
    parser.add_argument("--model", type=Path, default=Path("models/winnow-arith.gguf"))
    parser.add_argument("--out", type=Path, default=Path("models/winnow-arith.head.gguf"))
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--decay", type=float, default=0.02)
    parser.add_argument("--ranking", type=float, default=0.0, help="weight of the within-problem ranking loss")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train, validation = torch.load(args.train), torch.load(args.validation)
    head, _ = fit(train, validation, "both", args.hidden, args.epochs, decay=args.decay, ranking=args.ranking)
    width = train["states"].shape[-1]
    assert train["features"].shape[-1] == len(NAMES)
    heads.write(head.fold(width), width, args.out, "winnow-arith", args.model)
    print("wrote", args.out)


if __name__ == "__main__":
    main()
