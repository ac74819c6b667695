"""Writes the trained reward model as a GGUF backbone, its head file, and what another implementation must reproduce of it.

    python tools/export_reward.py --calibrate tools/build/validation-chains.jsonl

With --calibrate, scale and offset of the head are fitted on sampled chains of validation problems (cross-entropy over the four
quarters), so that its output is a logit for the generator's own solutions; no ranking changes. The head is linear on the
final-norm state at the closing token and reads no features.
"""

import argparse
import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F

import head as heads
import problems
import reward_labels as labels
import reward_model as models
import reward_rows as rows
import reward_score as scoring
import reward_tokenizer as words
import tokenizer as generator
from export_gguf import export

NAME = "winnow-arith-reward"
ABOUT = "Judges solutions to arithmetic word problems, finished or not"


def calibrate(score, found, right):
    """Folds scale and offset into the head; found: [solutions, 4]. Returns (scale, offset)."""
    line = torch.tensor([1.0, 0.0], requires_grad=True)
    truth = right[:, None].expand_as(found).float()
    search = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        search.zero_grad()
        value = F.binary_cross_entropy_with_logits(line[0] * found + line[1], truth)
        value.backward()
        return value

    search.step(loss)
    scale, offset = line.tolist()
    if scale <= 0:
        raise SystemExit(f"Expected a score that rises with the share of right answers but received a scale of {scale:.3f}")
    with torch.no_grad():
        score.weight *= scale
        score.bias.mul_(scale).add_(offset)
    return scale, offset


def fixture(model, tokenizer, count, seed=29):
    """Token ids and scores of pupils' solutions, finished and cut off anywhere, words included."""
    rng = random.Random(seed)
    for problem in problems.problem_set("validation", count, seed, problems.STEP_WEIGHTS):
        text = problems.solve(problem, rng)[0]
        cuts = sorted({*rng.sample(range(1, len(text)), 6), len(text)})
        sample = rows.row(tokenizer, problem.text, [rows.Solution(text, True, cuts, *labels.of_any(text, True))])
        found, _ = scoring.scores(model, [sample])
        yield {"prompt": problem.text, "text": text, "prompt_tokens": sample[0][:sample[7]],
               "cuts": [{"characters": cut, "tokens": [*rows.encode(tokenizer, text[:cut]).ids, words.JUDGE],
                         "score": round(score, 6)} for cut, score in zip(cuts, found[0].tolist())]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("tools/build/reward.pt"))
    parser.add_argument("--tokenizer", type=Path, default=Path("tools/build/reward-tokenizer.json"))
    parser.add_argument("--generator-tokenizer", type=Path, default=Path("tools/build/tokenizer.json"))
    parser.add_argument("--calibrate", type=Path, help="sampled chains of validation problems, as tools/chains.mjs writes them")
    parser.add_argument("--out", type=Path, default=Path("models/winnow-arith-reward.gguf"))
    parser.add_argument("--head", type=Path, default=Path("models/winnow-arith-reward.head.gguf"))
    parser.add_argument("--fixture", type=Path, default=Path("models/reward-fixture.json"))
    args = parser.parse_args()
    model, tokenizer = models.load(args.checkpoint), words.load(args.tokenizer)
    if args.calibrate:
        chains = scoring.read_chains(args.calibrate)
        samples = list(scoring.chain_rows(tokenizer, generator.load(args.generator_tokenizer), chains))
        print("scale %.4f, offset %.4f" % calibrate(model.score, *scoring.scores(model, samples)))
    export(model.trunk, tokenizer, args.out, NAME, ABOUT, words.SPECIAL, "superbpe", words.CHAT_TEMPLATE)
    width = model.score.in_features
    head = heads.Head(width, 0)
    head.outer = model.score
    heads.write(head, width, args.head, NAME, args.out)
    cases = list(fixture(model, tokenizer, 3))
    args.fixture.write_text(json.dumps({"model_sha256": heads.file_hash(args.out), "head_sha256": heads.file_hash(args.head),
                                        "cases": cases}, indent=1) + "\n")
    for path in (args.out, args.head, args.fixture):
        print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
