"""A row of a batch: one problem, several solutions to it, and places at which each is cut off and judged.

All of a problem's solutions share its tokens, and every cut is a short branch of its solution (the few tokens that come out
otherwise when the text ends there, then the closing token). Masks and positions keep them apart, so a judgement is what it
would be alone, and a problem is read once.
"""

from dataclasses import dataclass

import numpy as np
import torch

import reward_tokenizer as words
from reward_labels import UNKNOWN


@dataclass
class Solution:
    text: str
    right: bool
    cuts: list  # numbers of characters, ascending
    notes: np.ndarray  # [characters, 10]
    verdicts: np.ndarray  # [characters, 3]


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


def row(tokenizer, problem, solutions):
    """(ids, positions, views [tokens, 3], notes, verdicts, closing tokens [solutions, cuts], right [solutions], length of the prompt).

    A token sees the prompt, the tokens of its solution from views[0] to before views[1], and its own branch from views[2] on.
    """
    ids = [words.BOS, words.PROBLEM, *encode(tokenizer, problem).ids, words.SOLUTION]
    prompt = len(ids)
    positions, views = list(range(prompt)), [(0, 0, 0)] * prompt
    labelled, closing = [], []
    for solution in solutions:
        whole = encode(tokenizer, solution.text)
        ends = np.array([end for _, end in whole.offsets], dtype=np.int64)
        start = len(ids)
        labelled.append((start, solution, ends - 1))
        ids += whole.ids
        positions += range(prompt, prompt + len(ends))
        views += [(start, start, start)] * len(ends)
        closing.append([])
        for cut in solution.cuts:
            kept, tail = retokenised(tokenizer, solution.text, cut, ends)
            branch = len(ids)
            ids += [*tail, words.JUDGE]
            positions += range(prompt + kept, prompt + kept + len(tail) + 1)
            views += [(start, start + kept, branch)] * (len(tail) + 1)
            closing[-1].append(len(ids) - 1)
    notes = np.full((len(ids), 10), UNKNOWN, dtype=np.int64)
    verdicts = np.full((len(ids), 3), -1, dtype=np.float32)
    for start, solution, last in labelled:
        notes[start:start + len(last)] = solution.notes[last]
        verdicts[start:start + len(last)] = solution.verdicts[last]
    return ids, positions, views, notes, verdicts, closing, [solution.right for solution in solutions], prompt


def retokenised(tokenizer, text, cut, ends):
    """(how many tokens of the whole text stay, the tokens after them) of text[:cut]; `ends` are those of the whole text's tokens."""
    kept = int(np.searchsorted(ends, cut, side="right"))
    if kept and ends[kept - 1] == cut and (cut == len(text) or text[cut] in " .,:"):
        return kept, []  # a word ends at the token's end, so nothing that follows can move it
    while kept and text[int(ends[kept - 1])] != " ":
        kept -= 1  # back to where a word begins: no token reaches across
    begin = int(ends[kept - 1]) if kept else 0
    return kept, encode(tokenizer, text[begin:cut]).ids


def collate(group):
    length = -(-max(len(ids) for ids, *_ in group) // 16) * 16
    shape = (len(group), length)
    ids, position = torch.full(shape, words.PAD), torch.zeros(shape, dtype=torch.long)
    views = torch.zeros(*shape, 3, dtype=torch.long)
    views[..., 2] = torch.arange(length)
    notes, verdicts = torch.full((*shape, 10), UNKNOWN), torch.full((*shape, 3), -1.0)
    for i, (tokens, positions, seen, digits, said, *_) in enumerate(group):
        n = len(tokens)
        ids[i, :n], position[i, :n], views[i, :n] = torch.tensor(tokens), torch.tensor(positions), torch.tensor(seen)
        notes[i, :n], verdicts[i, :n] = torch.from_numpy(digits), torch.from_numpy(said)
    *_, closing, right, prompt = zip(*group)
    return {"ids": ids, "position": position, "mask": mask(views, torch.tensor(prompt)), "notes": notes, "verdicts": verdicts,
            "closing": torch.tensor(closing), "right": torch.tensor(right)}


def mask(views, prompt):
    """[rows, 1, tokens, tokens]: 0 or -inf."""
    begin, until, branch = (view[..., None] for view in views.unbind(-1))
    j = torch.arange(views.shape[1])
    seen = (j < prompt[:, None, None]) | ((j >= begin) & (j < until)) | (j >= branch)
    seen = seen & (j <= j[:, None])
    return torch.zeros(seen.shape, dtype=torch.bfloat16).masked_fill_(~seen, -torch.inf)[:, None]
