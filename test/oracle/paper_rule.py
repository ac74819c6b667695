"""The rejection rule of arXiv 2410.20290 as its reference implementation has it, written from a description of that alone.

Standard input is a list of races as JSON, each {"alpha": share, "rounds": count, "candidates": [{"ends": round, "scores":
[score by round]}]}; a candidate is finished from the round it `ends` in. Standard output is a list of {"alive": [ids of the
next batch, by round], "winner": id}.
"""

import json
import sys


class Trajectory:
    def __init__(self, index, score, finished):
        self.index = index
        self.score = score
        self.finished = finished


def race(alpha, rounds, candidates):
    trajectories, all_finished, current = [], [], []
    batch = list(range(len(candidates)))
    alive = []
    for step in range(rounds):
        # Every trajectory of the batch is generated to this round and scored, raw; finished ones are not scored again.
        current = [
            Trajectory(index, candidates[index]["scores"][step], candidates[index]["ends"] <= step) for index in batch
        ]
        previously_finished = [trajectory for trajectory in trajectories if trajectory.finished]
        all_finished += previously_finished
        ranked = sorted(previously_finished + current, key=lambda trajectory: trajectory.score, reverse=True)
        trajectories = ranked[: int(round((1 - alpha) * len(ranked)))]
        batch = [trajectory.index for trajectory in trajectories if not trajectory.finished]
        alive.append(sorted(batch))
        if not batch:
            break
    returned = trajectories + current + all_finished
    return {"alive": alive, "winner": max(returned, key=lambda trajectory: trajectory.score).index}


json.dump([race(**one) for one in json.load(sys.stdin)], sys.stdout)
