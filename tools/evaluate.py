"""Measures generator and head on sampled solutions of the held-out problems and writes models/metrics.json.

    python tools/evaluate.py

AUROC within problems: for each problem with right and wrong samples, the share of (right, wrong) pairs that the score orders
rightly, ties counting half; then the plain mean over these problems.  That is what choosing among candidates of one prompt
needs.  Pooled AUROC mixes all problems and flatters any score that tells easy problems from hard ones.
"""

import argparse
import json
from pathlib import Path

import torch

import head as heads
from collected import QUARTERS, load
from confidence import NAMES
from train_head import COMPARISONS, table

LABELS = [f"{round(q * 100)}%" for q in QUARTERS]


def auroc(scores, right):
    scores, right = scores.double(), right.bool()
    positive, negative = int(right.sum()), int((~right).sum())
    if not positive or not negative:
        return None
    values, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0).double() - (counts - 1) / 2
    return ((ranks[inverse][right].sum() - positive * (positive + 1) / 2) / (positive * negative)).item()


def within(scores, right):
    found = [a for a in (auroc(s, r) for s, r in zip(scores, right)) if a is not None]
    return sum(found) / len(found)


def both_ways(scores, right):
    """scores: [problems, samples, quarters]"""
    return {"within": {q: round(within(scores[..., i], right), 4) for i, q in enumerate(LABELS)},
            "pooled": {q: round(auroc(scores[..., i].flatten(), right.flatten()), 4) for i, q in enumerate(LABELS)}}


def calibration(logits, right, bins=10):
    chance, right = logits.sigmoid().flatten(), right.flatten()
    slot = (chance * bins).long().clamp(max=bins - 1)
    rows, error = [], 0.0
    for b in range(bins):
        chosen = slot == b
        count = int(chosen.sum())
        if count:
            said, was = chance[chosen].mean().item(), right[chosen].float().mean().item()
            error += count / len(chance) * abs(said - was)
            rows.append({"from": b / bins, "count": count, "predicted": round(said, 4), "observed": round(was, 4)})
    return {"expected_calibration_error": round(error, 4), "brier": round(((chance - right.float()) ** 2).mean().item(), 4),
            "bins": rows}


def rates(found):
    right = found["right"].float()
    rate, count = right.mean(1), right.shape[1]
    return {"problems": len(rate), "samples_per_problem": count, "pass@1": round(rate.mean().item(), 4),
            "pass@1_p10": round(rate.quantile(0.1).item(), 4), "pass@1_median": round(rate.median().item(), 4),
            "pass@1_p90": round(rate.quantile(0.9).item(), 4), f"pass@{count}": round((rate > 0).float().mean().item(), 4),
            "problems_with_both_outcomes": int(((rate > 0) & (rate < 1)).sum()),
            "tokens_per_solution_mean": round(found["lengths"].float().mean().item(), 1),
            "tokens_per_solution_max": int(found["lengths"].max())}


def by_events(found):
    rate = found["right"].float().mean(1)
    rows = []
    for events in found["events"].unique().tolist():
        some = rate[found["events"] == events]
        rows.append({"events": events, "problems": len(some), "pass@1": round(some.mean().item(), 4),
                     "any": round((some > 0).float().mean().item(), 4)})
    return rows


def best_of(scores, right, counts=(1, 2, 4, 8, 16, 32, 64)):
    """Share right of the top-scored finished solution among the first n samples."""
    return {str(n): round(right.gather(1, scores[:, :n].argmax(1, keepdim=True)).float().mean().item(), 4)
            for n in counts if n <= right.shape[1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--validation", type=Path, nargs="+", default=[Path("tools/build/validation")])
    parser.add_argument("--heldout", type=Path, nargs="+", default=[Path("tools/build/heldout")])
    parser.add_argument("--comparisons", type=Path, default=Path("tools/build/comparisons.pt"))
    parser.add_argument("--head", type=Path, default=Path("models/winnow-arith.head.gguf"))
    parser.add_argument("--out", type=Path, default=Path("models/metrics.json"))
    args = parser.parse_args()
    torch.set_num_threads(2)
    validation, heldout = load(args.validation), load(args.heldout)
    right = heldout["right"]
    head, _ = heads.read(args.head)
    with torch.no_grad():
        logits = head(table(heldout)[:, :, :4])
    metrics = {"generator": {"heldout": rates(heldout), "validation": rates(validation)}, "auroc": {"head": both_ways(logits, right)}}
    metrics["heldout_by_events"] = by_events(heldout)
    print(json.dumps(metrics["generator"]))
    others = torch.load(args.comparisons)
    for name, part, hidden in COMPARISONS:
        x = table(heldout, part)[:, :, :4]
        other = heads.Head(x.shape[-1], hidden)
        other.load_state_dict(others[name])
        with torch.no_grad():
            metrics["auroc"][name] = both_ways(other(x), right)
    for i, name in enumerate(NAMES):
        # The sign in which a feature points is chosen on the validation problems.
        sign = 1 if within(validation["features"][:, :, 3, i], validation["right"]) >= 0.5 else -1
        metrics["auroc"][name] = both_ways(sign * heldout["features"][:, :, :4, i], right) | {"sign": sign}
    metrics["calibration"] = {q: calibration(logits[..., i], right) for i, q in enumerate(LABELS)}
    metrics["best_of_n"] = {"head": best_of(logits[..., 3], right)}
    for name, sign in (("max_excess", -1), ("min_logprob", 1), ("mean_logprob", 1)):
        metrics["best_of_n"][name] = best_of(sign * heldout["features"][:, :, 3, NAMES.index(name)], right)
    args.out.write_text(json.dumps(metrics, indent=1) + "\n")
    for kind in ("within", "pooled"):
        print(kind)
        for name, value in metrics["auroc"].items():
            print(f"  {name:22s}", *(f"{value[kind][q]:.3f}" for q in LABELS))
    print("best of n", json.dumps(metrics["best_of_n"]))
    print("calibration error", {q: v["expected_calibration_error"] for q, v in metrics["calibration"].items()})


if __name__ == "__main__":
    main()
