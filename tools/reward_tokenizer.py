"""The reward model's tokenizer: byte-level BPE, split like llama.cpp's pre-tokenizer "superbpe", at numbers only.

Digits and the space before them stand alone as in the generator's vocabulary, so that a model which starts from the generator
still calculates. But a full stop and the word after it are one token here (". In"), which they never are there: when the word
comes, the full stop that was a token before is none any more, and the mirror has to go back. One token in twenty does that.

    python tools/reward_tokenizer.py
"""

import argparse
from pathlib import Path

import tokenizer as words

BOS, PROBLEM, SOLUTION, PAD = words.BOS, words.PROBLEM, words.SOLUTION, words.PAD
load = words.load
SPECIAL = [*words.SPECIAL, "<|judge|>"]
JUDGE = len(SPECIAL) - 1  # the token at which the reward is read

# Within such a piece merges are learnt, so none joins two digits or a digit and a space, but a full stop and the word after it.
LEARNT = r"\p{N}|\. \p{L}+| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# BOS is left to the tokenizer (add_bos). The reward is read at the token that closes the assistant's message.
CHAT_TEMPLATE = ("{% for message in messages %}"
                 "{% if message['role'] == 'user' %}<|problem|>{{ message['content'] }}<|solution|>"
                 "{% elif message['role'] == 'assistant' %}{{ message['content'] }}<|judge|>"
                 "{% endif %}{% endfor %}")


def train(size):
    tokenizer = words.train(size, 17, LEARNT, SPECIAL)
    tokenizer.pre_tokenizer = words.pieces(r"\p{N}+")
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--out", type=Path, default=Path("tools/build/reward-tokenizer.json"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    train(args.size).save(str(args.out))


if __name__ == "__main__":
    main()
