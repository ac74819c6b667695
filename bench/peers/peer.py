"""Answers prompts with transformers for as long as somebody asks: a line of JSON in, a line of JSON out.

    python bench/peers/peer.py FOLDER HEAD.gguf FIXTURE.json --threads 1

The first line out says with what; what it decodes is held against the fixture before anything is measured.
"""

import argparse
import json
import sys
import time

import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from arms import ARMS, Candidate, Options, read
from scorer import Scorer  # opens the way to tools/, where the tokenizer's numbers are

import tokenizer as words


class Peer:
    def __init__(self, folder, head):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        self.scorer = Scorer(head)
        self.end, self.pad = words.EOS, words.PAD

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, tokens):
        return self.tokenizer.decode(tokens)


def check(peer, fixture):
    """Prompts become the fixture's tokens, and answers get the fixture's scores; the engine's tests hold it to the same file."""
    for case in json.load(open(fixture))["cases"]:
        prompt = words.prompt_ids(peer.tokenizer, case["prompt"])
        assert prompt == case["prompt_tokens"], f"another prompt for {case['prompt'][:40]}"
        for count, after in case.get("after", {}).items():
            answer = Candidate(case["greedy_tokens"][:int(count)])
            read(peer, prompt, [answer])
            logit = after["logit"]
            assert abs(answer.score - logit) < 0.02, f"{answer.score} after {count} tokens, not {logit}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("head")
    parser.add_argument("fixture")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    peer = Peer(args.folder, args.head)
    check(peer, args.fixture)
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({"versions": versions, "arms": list(ARMS)}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        prompt = words.prompt_ids(peer.tokenizer, asked["prompt"])
        torch.manual_seed(asked["seed"])
        began = time.perf_counter()
        text, generated, rows = ARMS[asked["arm"]](peer, prompt, Options(**asked["options"]))
        seconds = time.perf_counter() - began
        print(json.dumps({"text": text, "generatedTokens": generated, "processedTokens": rows, "wallSeconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
