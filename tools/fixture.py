"""Writes models/fixture.json: what another implementation must reproduce, computed here with the exported weights.

    python tools/fixture.py
"""

import argparse
import json
from pathlib import Path

import torch

import head as heads
import tokenizer as words
from confidence import NAMES, features
from model import load
from sample import sample

TOKENS = 40


@torch.no_grad()
def trace(model, head, prompt, ids, logprobs, entropies):
    """What must be found along given tokens."""
    states = model.states(torch.tensor([prompt + ids[0].tolist()]))[0, len(prompt):]
    confidence = features(logprobs, entropies)[0]
    logits = head(torch.cat((states, confidence), -1))
    return {"logprobs": [round(x, 6) for x in logprobs[0].tolist()],
            "entropies": [round(x, 6) for x in entropies[0].tolist()],
            "after": {str(n): {"state_first_8": [round(x, 6) for x in states[n - 1, :8].tolist()],
                               "state_norm": round(states[n - 1].norm().item(), 6),
                               "features": {k: round(v, 6) for k, v in zip(NAMES, confidence[n - 1].tolist())},
                               "logit": round(logits[n - 1].item(), 6)} for n in (20, TOKENS)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("tools/build/generator.pt"))
    parser.add_argument("--tokenizer", type=Path, default=Path("tools/build/tokenizer.json"))
    parser.add_argument("--model", type=Path, default=Path("models/winnow-arith.gguf"))
    parser.add_argument("--head", type=Path, default=Path("models/winnow-arith.head.gguf"))
    parser.add_argument("--problems", type=Path, default=Path("bench/problems/heldout.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("models/fixture.json"))
    args = parser.parse_args()
    torch.set_num_threads(2)
    model, tokenizer = load(args.checkpoint), words.load(args.tokenizer)
    head, _ = heads.read(args.head)
    cases = []
    for index, line in enumerate(args.problems.read_text().splitlines()[:3]):
        task = json.loads(line)
        prompt = words.prompt_ids(tokenizer, task["prompt"])
        likeliest = sample(model, prompt, TOKENS)
        case = {**task, "prompt_tokens": prompt, "greedy_tokens": likeliest[0][0].tolist()}
        if index == 0:
            case |= trace(model, head, prompt, *likeliest)
            # Likeliest tokens hardly ever surprise, so the excess features need a drawn continuation as well.
            drawn = sample(model, prompt, TOKENS, torch.Generator().manual_seed(3))
            case["drawn"] = {"tokens": drawn[0][0].tolist()} | trace(model, head, prompt, *drawn)
        cases.append(case)
    args.out.write_text(json.dumps({"model_sha256": heads.file_hash(args.model), "head_sha256": heads.file_hash(args.head),
                                    "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
