"""Measures the reward model on sampled chains of the held-out problems and writes models/reward-metrics.json.

    node tools/chains.mjs --problems bench/problems/heldout.jsonl --samples 64 --seed 13 --out tools/build/heldout-chains.jsonl
    python tools/evaluate_reward.py

The figures are those of tools/evaluate.py: AUROC within problems and pooled where 25, 50, 75 and 100% of the generator's tokens
are written, calibration, and the share of right answers among the best-scored of n. Scores are computed with the weights as
exported: F16 matrices, and the shipped head.
"""

import argparse
import json
import time
from pathlib import Path

import torch

import head as heads
import reward_model as models
import reward_score as scoring
import reward_tokenizer as words
import tokenizer as generator
from evaluate import LABELS, best_of, both_ways, calibration


def measure(model, tokenizer, counting, chains):
    """(scores [problems, samples, 4], right [problems, samples])."""
    samples = list(scoring.chain_rows(tokenizer, counting, chains))
    found, right = scoring.scores(model, samples)
    each = len(chains[0][2])
    return found.view(len(chains), each, -1), right.view(len(chains), each)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("tools/build/reward.pt"))
    parser.add_argument("--tokenizer", type=Path, default=Path("tools/build/reward-tokenizer.json"))
    parser.add_argument("--generator-tokenizer", type=Path, default=Path("tools/build/tokenizer.json"))
    parser.add_argument("--head", type=Path, default=Path("models/winnow-arith-reward.head.gguf"))
    parser.add_argument("--chains", type=Path, default=Path("tools/build/heldout-chains.jsonl"))
    parser.add_argument("--problems", type=int, default=240, help="of the file, from its start")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("models/reward-metrics.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = models.load(args.checkpoint)
    model.score = heads.read(args.head)[0].outer
    chains = scoring.read_chains(args.chains)[:args.problems]
    begun = time.time()
    found, right = measure(model, words.load(args.tokenizer), generator.load(args.generator_tokenizer), chains)
    metrics = {"problems": len(chains), "samples_per_problem": right.shape[1], "pass@1": round(right.float().mean().item(), 4),
               "auroc": {"reward model": both_ways(found, right)},
               "calibration": {q: calibration(found[..., i], right) for i, q in enumerate(LABELS)},
               "best_of_n": {"reward model": best_of(found[..., 3], right)}}
    args.out.write_text(json.dumps(metrics, indent=1) + "\n")
    for kind in ("within", "pooled"):
        print(f"{kind:8s}", *(f"{metrics['auroc']['reward model'][kind][q]:.3f}" for q in LABELS))
    print("best of n", json.dumps(metrics["best_of_n"]))
    print("calibration error", {q: v["expected_calibration_error"] for q, v in metrics["calibration"].items()})
    print(f"{right.numel()} solutions in {time.time() - begun:.0f} s")


if __name__ == "__main__":
    main()
