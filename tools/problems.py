"""Word problems about one running quantity, the solutions that pupils write to them, and the verifier.

A problem is a start value and 3 to 12 events, one per month; its answer follows by arithmetic.  Solutions come from
"careless pupils": every step carries a mistake with a probability that depends on how hard the step is, and the pupil goes
on consistently from the wrong number.  A model trained on such solutions makes mistakes of the same kinds at about the same
rates, which is what gives best-of-N something to choose from.

Run `python tools/problems.py` to write bench/problems/heldout.jsonl and bench/problems/validation.jsonl.
"""

import argparse
import hashlib
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December"]
PEOPLE = [("Tom", "he"), ("Ben", "he"), ("Sam", "he"), ("Max", "he"), ("Leo", "he"), ("Omar", "he"),
          ("Mia", "she"), ("Anna", "she"), ("Zoe", "she"), ("Lily", "she"), ("Ruth", "she"), ("Nina", "she")]
ITEMS = ["marbles", "stamps", "coins", "shells", "cards", "books", "apples", "pens", "stones", "beads", "tickets", "plants"]
HIGHEST = 199  # of a true running value; a wrong one may go to 999
SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
APPLY = {"add": lambda a, b: a + b, "sub": lambda a, b: max(0, a - b), "mul": lambda a, b: a * b,
         "div": lambda a, b: a // b if b else a}


@dataclass(frozen=True)
class Event:
    kind: str  # add, sub, mul, div, gadd (groups are added), gsub (groups are taken away)
    number: int
    groups: int = 1

    def apply(self, value):
        return APPLY[self.kind.removeprefix("g")](value, self.groups * self.number)


@dataclass(frozen=True)
class Problem:
    start: int
    events: tuple
    text: str
    month: int
    name: str
    pronoun: str
    item: str
    answer: int

    @property
    def skeleton(self):
        return f"{self.start};" + ";".join(f"{e.kind} {e.groups} {e.number}" for e in self.events)

    @property
    def split(self):
        """Which part of the data a problem belongs to follows from its numbers alone, so no wording can leak across."""
        bucket = int(hashlib.sha256(self.skeleton.encode()).hexdigest()[:8], 16) % 100
        return "heldout" if bucket < 5 else "validation" if bucket < 10 else "train"


# ---------------------------------------------------------------- problems

PROMPT = {
    "add": ["{s} buys {n} more", "{s} finds {n}", "{s} gets {n} from {o}", "{s} wins {n}", "{o} gives {p} {n}"],
    "sub": ["{s} gives {n} to {o}", "{s} loses {n}", "{s} sells {n}", "{s} uses {n}", "{o} takes {n}"],
    "mul": ["{s} makes it {n} times as many", "the number grows to {n} times as many"],
    "div": ["{s} makes {n} equal piles and keeps one", "{s} shares equally among {n} and keeps one part"],
    "gadd": ["{g} friends each bring {n}", "{s} buys {g} boxes of {n}"],
    "gsub": ["{s} gives {n} to each of {g} friends", "{s} sells {g} boxes of {n}"],
}


def draw_event(rng, value, highest=HIGHEST):
    """An event that leads from a true value to another one in 2..highest."""
    while True:
        kind = rng.choices(["add", "sub", "mul", "div", "gadd", "gsub"], [28, 28, 13, 9, 11, 11])[0]
        if kind == "mul":
            event = Event(kind, rng.choices([2, 3, 4, 5], [5, 3, 1, 1])[0])
        elif kind == "div":
            event = Event(kind, rng.choices([2, 3, 4, 5], [6, 2, 1, 1])[0])
            if value % event.number:
                continue
        elif kind in ("add", "sub"):
            event = Event(kind, rng.randint(2, 9) if rng.random() < 0.45 else rng.randint(10, 49))
        else:
            event = Event(kind, rng.randint(2, 9), rng.randint(2, 5))
        if kind in ("sub", "gsub") and value - event.number * event.groups < 2:
            continue
        if 2 <= event.apply(value) <= highest:
            return event


def draw_problem(rng, steps):
    value = start = rng.randint(5, 60)
    events = []
    for _ in range(steps):
        event = draw_event(rng, value)
        events.append(event)
        value = event.apply(value)
    name, pronoun = rng.choice(PEOPLE)
    item = rng.choice(ITEMS)
    month = rng.randrange(12)
    sentences = [rng.choice([f"{name} has {start} {item}.", f"{name} starts with {start} {item}.",
                             f"At first {name} has {start} {item}."])]
    for i, event in enumerate(events):
        other = rng.choice([n for n, _ in PEOPLE if n != name])
        subject = name if rng.random() < 0.5 else pronoun
        phrase = rng.choice(PROMPT[event.kind]).format(s=subject, n=event.number, g=event.groups, o=other, p=name)
        sentences.append(f"In {MONTHS[(month + i) % 12]}, {phrase}.")
    sentences.append(rng.choice([f"How many {item} does {name} have now?", f"How many {item} are there in the end?"]))
    return Problem(start, tuple(events), " ".join(sentences), month, name, pronoun, item, value)


# ---------------------------------------------------------------- solutions

# Wordings carry no information; their weights fall steeply so that a rare but harmless wording costs as much log-probability
# as a mistake does.  Otherwise the least likely token alone would give every mistake away, which real text does not do.
OPENERS = [("In {m},", 60), ("{m}:", 20), ("Then in {m},", 10), ("During {m},", 5), ("Now {m}:", 2.5), ("For {m},", 1.5),
           ("Next comes {m}:", 1)]
MIDDLES = {
    "add": [("", 40), (" the count goes up:", 25), (" adding {n} gives", 18), (" {n} more makes", 12), (" we add {n}:", 5)],
    "sub": [("", 40), (" the count goes down:", 25), (" taking {n} gives", 18), (" {n} less makes", 12), (" we take {n}:", 5)],
    "mul": [("", 40), (" the count grows:", 25), (" times {n} gives", 18), (" {n} times that makes", 12), (" we use {n}:", 5)],
    "div": [("", 40), (" the count shrinks:", 25), (" one of {n} gives", 18), (" a part of {n} makes", 12), (" we use {n}:", 5)],
}
CLOSERS = [(".", 60), (" {i}.", 22), (" now.", 9), (" in all.", 5), (" so far.", 2.5), (" altogether.", 1.5)]


def pick(rng, weighted):
    return rng.choices([w for w, _ in weighted], [p for _, p in weighted])[0]


def mistake_rate(op, a, b):
    """How often a pupil errs in one equation: more where there is a carry or a borrow, a product, or a large number."""
    if op == "add":
        rate = 0.13 if a % 10 + b % 10 > 9 else 0.08
    elif op == "sub":
        rate = 0.14 if a % 10 < b % 10 else 0.08
    elif op == "mul":
        rate = 0.10 if b < 4 else 0.15
    else:
        rate = 0.11
    return rate * (1.3 if a > 99 else 1.0)


def slip_digit(rng, number):
    digits = list(str(number))
    i = rng.randrange(len(digits))
    digits[i] = rng.choice([d for d in "0123456789" if d != digits[i] and not (d == "0" and i == 0)])
    return int("".join(digits))


def wrong_result(rng, op, a, b, right):
    kind = rng.random()
    if op in ("add", "sub") and kind < 0.4:
        wrong = right + rng.choice([-10, 10])  # a dropped carry, or one too many
    elif op == "mul" and kind < 0.4:
        wrong = right + rng.choice([-a, a, -b, b])  # a neighbour in the table
    elif kind < 0.8:
        wrong = right + rng.choice([-2, -1, -1, 1, 1, 2])
    else:
        wrong = slip_digit(rng, right)
    return wrong if wrong >= 0 and wrong != right else right + 1


def equation(rng, op, a, b, others, carelessness):
    """One equation as a pupil sets it down: (operation, a, b, result)."""
    right = APPLY[op](a, b)
    if rng.random() >= mistake_rate(op, a, b) * carelessness:
        return op, a, b, right
    kind = rng.random()
    if kind < 0.62:
        return op, a, b, wrong_result(rng, op, a, b, right)
    if kind < 0.76:  # the number of the problem is miscopied, or taken from another event
        other = rng.choice(others) if others and rng.random() < 0.5 else slip_digit(rng, b)
        if other != b and other > 0:
            b = other
            return op, a, b, APPLY[op](a, b)
    if kind < 0.88:  # the running value is miscopied
        a = slip_digit(rng, a)
        return op, a, b, APPLY[op](a, b)
    if op in ("add", "sub"):  # the operation is taken for another one
        op = "sub" if op == "add" else "add"
        return op, a, b, APPLY[op](a, b)
    return op, a, b, wrong_result(rng, op, a, b, right)


def solve(problem, rng, carelessness=1.0):
    """A pupil's solution: its text, the spans of its sentences (start, end, where the first mistake shows or None), its answer."""
    while True:
        solution = attempt(problem, rng, carelessness)
        if solution is not None:
            return solution


def attempt(problem, rng, carelessness):
    parts, spans, length = [], [], 0

    def say(text, clean=None):
        nonlocal length
        first = None
        if clean is not None and clean != text:
            first = next((i for i, (x, y) in enumerate(zip(text, clean)) if x != y), min(len(text), len(clean)))
            first += length
        parts.append(text)
        spans.append((length, length + len(text), first))
        length += len(text)

    value = problem.start
    if rng.random() < 0.03 * carelessness:
        value = slip_digit(rng, value)
    opening = pick(rng, [("{n} has {v}.", 50), ("We start with {v}.", 30), ("At first there are {v} {i}.", 15), ("Start: {v}.", 5)])
    say(opening.format(n=problem.name, v=value, i=problem.item), opening.format(n=problem.name, v=problem.start, i=problem.item))

    numbers = [e.number for e in problem.events]
    for i, event in enumerate(problem.events):
        others = [n for j, n in enumerate(numbers) if j != i and abs(i - j) < 3 and n != event.number]
        opener = " " + pick(rng, OPENERS).format(m=MONTHS[(problem.month + i) % 12])
        closer = pick(rng, CLOSERS).format(i=problem.item)
        if event.kind in ("gadd", "gsub"):
            op, a, b, total = equation(rng, "mul", event.groups, event.number, others, carelessness)
            first = f" {a} {SIGNS[op]} {b} = {total}"
            clean_first = f" {event.groups} * {event.number} = {event.groups * event.number}"
            joint = pick(rng, [(", and", 50), (", then", 30), (", so", 15), (", which makes", 5)])
            base = event.kind[1:]
            op, a, b, result = equation(rng, base, value, total, [], carelessness)
            second = f"{joint} {a} {SIGNS[op]} {b} = {result}{closer}"
            clean_second = f"{joint} {value} {SIGNS[base]} {total} = {APPLY[base](value, total)}{closer}"
            if first != clean_first:  # the whole sentence counts from the first slip on
                say(opener + first + second, opener + clean_first + second)
            else:
                say(opener + first + second, opener + first + clean_second)
        else:
            op, a, b, result = equation(rng, event.kind, value, event.number, others, carelessness)
            middle = pick(rng, MIDDLES[event.kind])
            clean = middle.format(n=event.number) + \
                f" {value} {SIGNS[event.kind]} {event.number} = {APPLY[event.kind](value, event.number)}"
            if op != event.kind:
                middle = MIDDLES[op][[m for m, _ in MIDDLES[event.kind]].index(middle)][0]
            say(opener + middle.format(n=b) + f" {a} {SIGNS[op]} {b} = {result}{closer}", opener + clean + closer)
        value = result
        if value > 999:
            return None
    final = value
    if rng.random() < 0.02 * carelessness:
        final = slip_digit(rng, value)
    say(f" The answer is {final}.", f" The answer is {value}.")
    return "".join(parts), spans, final


# ---------------------------------------------------------------- verifier

ANSWER = re.compile(r"The answer is (-?\d+)")


def read_answer(text):
    """The last number after "The answer is", or None."""
    found = ANSWER.findall(text)
    return found[-1] if found else None


def is_right(text, answer):
    found = read_answer(text)
    return found is not None and int(found) == int(answer)


# ---------------------------------------------------------------- problem sets

def problem_set(split, count, seed, weights):
    """`count` problems of one split; `weights` maps numbers of events to their share."""
    rng = random.Random(seed)
    chosen, seen = [], set()
    while len(chosen) < count:
        problem = draw_problem(rng, rng.choices(list(weights), list(weights.values()))[0])
        if problem.split == split and problem.skeleton not in seen:
            seen.add(problem.skeleton)
            chosen.append(problem)
    return chosen


STEP_WEIGHTS = {n: 1 for n in range(3, 11)}  # of the problem files: what they ask of the shipped generator is neither hopeless nor easy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench/problems"))
    parser.add_argument("--heldout", type=int, default=600)
    parser.add_argument("--validation", type=int, default=200)
    parser.add_argument("--train", type=int, default=0, help="write this many training problems (3 to 12 events) and nothing else")
    parser.add_argument("--seed", type=int, default=103, help="of --train")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    files = (("heldout", args.heldout, 101, STEP_WEIGHTS), ("validation", args.validation, 102, STEP_WEIGHTS))
    if args.train:
        files = (("train", args.train, args.seed, {n: 1 for n in range(3, 13)}),)
    for split, count, seed, weights in files:
        with open(args.out / f"{split}.jsonl", "w") as file:
            for problem in problem_set(split, count, seed, weights):
                file.write(json.dumps({"prompt": problem.text, "answer": str(problem.answer)}) + "\n")


if __name__ == "__main__":
    main()
