"""Reads what tools/collect.mjs wrote."""

import json

import numpy as np
import torch

QUARTERS = (0.25, 0.5, 0.75, 1.0)


def load(paths):
    """Collections (paths without ending) as tensors [problems, samples, ...], joined over problems."""
    parts = [load_one(path) for path in paths]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def load_one(path):
    facts = json.loads(path.with_suffix(".json").read_text())
    problems, samples, positions, width = len(facts["events"]), facts["samples"], facts["positions"], facts["width"]
    rows = torch.from_numpy(np.fromfile(path.with_suffix(".f32"), dtype=np.float32))
    rows = rows.view(problems, samples, positions, width + facts["features"])
    return {"right": torch.tensor(facts["right"]).view(problems, samples),
            "lengths": torch.tensor(facts["lengths"]).view(problems, samples),
            "at": torch.tensor(facts["at"]).view(problems, samples, positions),
            "states": rows[..., :width], "features": rows[..., width:], "events": torch.tensor(facts["events"])}
