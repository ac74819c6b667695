"""What a judge can be taught at every character of a solution; a token has the labels of its last character.

Notes, ten digits of which any may be unknown (-100): the kind of the event, its number (tens, units), its groups, the value
before it as it is written (three digits), the right result of the equation at hand (three digits).
Verdicts, three of 0 and 1 (-1 unknown): a mistake has been made so far, one in this sentence, the finished answer will be right.
"""

import re

import numpy as np

from equations import results

KINDS = ["add", "sub", "mul", "div", "gadd", "gsub"]
UNKNOWN = -100
SENTENCE = re.compile(r"[^.]*\.|[^.]+$")
NUMBER = re.compile(r"\d+")


def digits(number, count=3):
    return [number // 10 ** i % 10 for i in reversed(range(count))]


def of_any(text, right):
    """(notes [characters, 10], verdicts [characters, 3]) of a solution of which nothing but its text is known."""
    notes = np.full((len(text), 10), UNKNOWN, dtype=np.int64)
    verdicts = np.full((len(text), 3), -1, dtype=np.float32)
    verdicts[:, 2] = right
    sentences = list(SENTENCE.finditer(text))
    for before, sentence in zip(sentences, sentences[1:]):
        written = NUMBER.findall(before[0])
        if written:
            notes[sentence.start():sentence.end(), 4:7] = digits(int(written[-1]))
    for begin, end, result in results(text, [sentence.end() for sentence in sentences]):
        notes[begin:end, 7:10] = digits(result)
    return notes, verdicts


def of_pupil(problem, solution):
    """The same, of a pupil's solution: everything is known."""
    text, spans, answer = solution
    notes, verdicts = of_any(text, answer == problem.answer)
    verdicts[:, :2] = 0
    for begin, end, first in spans:
        if first is not None:
            verdicts[first:, 0] = 1
            verdicts[first:end, 1] = 1
    for event, (begin, end, _) in zip(problem.events, spans[1:]):
        notes[begin:end, :4] = [KINDS.index(event.kind), *digits(event.number, 2), event.groups]
    return notes, verdicts
