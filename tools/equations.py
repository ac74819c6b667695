"""The equations of a solution and their right results, whatever results are written."""

import re

import problems

EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
OPERATIONS = {sign: problems.APPLY[name] for name, sign in problems.SIGNS.items()}


def results(text, ends):
    """For each equation: (offset of "=", end of what speaks of it, its right result modulo 1000); `ends` are those of the sentences."""
    found = list(EQUATION.finditer(text))
    for this, following in zip(found, found[1:] + [None]):
        equals = this.end(3) + 1
        end = min((e for e in ends if e > equals), default=len(text))
        if following:
            end = min(end, following.start())
        yield equals, end, OPERATIONS[this[2]](int(this[1]), int(this[3])) % 1000
