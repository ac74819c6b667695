"""The byte-level BPE tokenizer: trained with Hugging Face `tokenizers`, split like llama.cpp's pre-tokenizer "qwen2".

That split takes digits singly, so " 37" becomes three tokens: a space, "3" and "7".

Run `python tools/tokenizer.py --out tools/build/tokenizer.json`.
"""

import argparse
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import problems

BOS, EOS, UNKNOWN, PAD, PROBLEM, SOLUTION = range(6)
SPECIAL = ["<|bos|>", "<|endoftext|>", "<|unknown|>", "<|pad|>", "<|problem|>", "<|solution|>"]
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# A user's message becomes the problem; BOS is left to the tokenizer (add_bos), so the template writes none.
CHAT_TEMPLATE = ("{% for message in messages %}"
                 "{% if message['role'] == 'user' %}<|problem|>{{ message['content'] }}<|solution|>"
                 "{% elif message['role'] == 'assistant' %}{{ message['content'] }}<|endoftext|>"
                 "{% endif %}{% endfor %}")


def train(size, seed=7, split=SPLIT, special=SPECIAL):
    """`split`: a regular expression of the pieces within which merges are learnt; `special`: the first tokens."""
    rng = random.Random(seed)
    texts = []
    for _ in range(6000):
        problem = problems.draw_problem(rng, rng.randint(3, 12))
        # A space joins a word only after another word, so a solution is trained on as it follows the prompt.
        texts += [problem.text, problems.solve(problem, rng)[0]]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pieces(split)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), min_frequency=20,
        show_progress=False))
    return tokenizer


def pieces(split):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def load(path):
    return Tokenizer.from_file(str(path))


def prompt_ids(tokenizer, text):
    return [BOS, PROBLEM] + tokenizer.encode(text, add_special_tokens=False).ids + [SOLUTION]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=576)
    parser.add_argument("--out", type=Path, default=Path("tools/build/tokenizer.json"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    train(args.size).save(str(args.out))


if __name__ == "__main__":
    main()
