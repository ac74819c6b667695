"""Scores of solutions that are cut off where 25, 50, 75 and 100% of their tokens are written, and of pupils' solutions to watch a run by."""

import json
import math
import random

import torch

import problems
import reward_rows as rows
from collected import QUARTERS
from evaluate import within
from reward_labels import of_any, of_pupil

LIMIT = 16384  # tokens in one batch
IN_A_ROW = 4  # solutions: more share the problem, but every token is compared with all of the row


def read_chains(path):
    """[(prompt, answer, texts)] of a file that tools/chains.mjs wrote."""
    return [(line["prompt"], line["answer"], line["texts"]) for line in map(json.loads, open(path))]


def quarters(tokenizer, text):
    """Numbers of characters at the ends of the four quarters of the tokens."""
    ends = [end for _, end in tokenizer.encode(text, add_special_tokens=False).offsets]
    return [ends[math.ceil(len(ends) * q) - 1] if ends else 0 for q in QUARTERS]


def chain_rows(tokenizer, counting, chains):
    """Rows of at most IN_A_ROW solutions; `counting` is the tokenizer whose tokens make the quarters (the generator's)."""
    for prompt, answer, texts in chains:
        for some in (texts[i:i + IN_A_ROW] for i in range(0, len(texts), IN_A_ROW)):
            solutions = []
            for text in some:
                right = problems.is_right(text, answer)
                solutions.append(rows.Solution(text, right, quarters(counting, text), *of_any(text, right)))
            yield rows.row(tokenizer, prompt, solutions)


@torch.no_grad()
def scores(model, samples):
    """([solutions, 4] scores, [solutions] right) in the order of the rows' solutions."""
    order = sorted(range(len(samples)), key=lambda i: len(samples[i][0]))
    found, group = {}, []
    for place, i in enumerate(order):
        group.append(i)
        following = order[place + 1] if place + 1 < len(order) else None
        if following is not None and (len(group) + 1) * len(samples[following][0]) <= LIMIT \
                and len(samples[following][5]) == len(samples[i][5]):
            continue
        batch = rows.collate([samples[j] for j in group])
        _, states = model.states(batch["ids"], batch["position"], batch["mask"].float())
        closing = batch["closing"].flatten(1)
        read = states.gather(1, closing[..., None].expand(-1, -1, states.shape[-1]))
        for j, values in zip(group, model.score(read)[..., 0].view(*batch["closing"].shape)):
            found[j] = values
        group = []
    return torch.cat([found[i] for i in range(len(samples))]), torch.tensor([right for sample in samples for right in sample[6]])


class Watch:
    """Pupils' solutions to validation problems. `ceiling`: what a judge would reach that knows every mistake made so far and nothing else."""

    def __init__(self, tokenizer, count=60, each=8, seed=23):
        rng = random.Random(seed)
        self.each, self.rows, known = each, [], []
        for problem in problems.problem_set("validation", count, seed, problems.STEP_WEIGHTS):
            solutions = []
            for _ in range(each):
                solution = problems.solve(problem, rng)
                text, (notes, verdicts) = solution[0], of_pupil(problem, solution)
                cuts = quarters(tokenizer, text)
                solutions.append(rows.Solution(text, solution[2] == problem.answer, cuts, notes, verdicts))
                known.append([-verdicts[cut - 1, 0] for cut in cuts])
            for i in range(0, each, IN_A_ROW):
                self.rows.append(rows.row(tokenizer, problem.text, solutions[i:i + IN_A_ROW]))
        self.known = torch.tensor(known).view(count, each, len(QUARTERS))

    def measure(self, model):
        """{name: AUROC within problems at the four quarters} of the model and of the ceiling."""
        found, right = scores(model, self.rows)
        right = right.view(-1, self.each)
        table = {"score": found.view(self.known.shape), "ceiling": self.known}
        return {name: [round(within(values[..., q], right), 3) for q in range(len(QUARTERS))] for name, values in table.items()}
