"""The reward model: the decoder of model.py, deeper, and a linear score of its final-norm state.

It judges and writes nothing. Two more readings exist in training only, and make the layers work in order: from a layer in the
middle, what a checker must know before comparing (what the problem asks for here, the right result of the equation at hand);
from the final state, where a mistake is.
"""

import torch
from torch import nn

from model import Config, Generator, Norm, round_matrices

NOTES = 10  # digits: see reward_labels.py


def config(vocab, layers):
    return Config(vocab=vocab, layers=layers, context=2048)


class RewardModel(nn.Module):
    def __init__(self, config, notes_after):
        """`notes_after`: how many layers lie below the state that the notes are read from."""
        super().__init__()
        self.trunk = Generator(config)
        self.notes_after = notes_after
        self.notes = nn.Sequential(Norm(config), nn.Linear(config.width, NOTES * 10))
        self.verdict = nn.Linear(config.width, 3)  # a mistake so far, one in this sentence, the finished answer right
        self.score = nn.Linear(config.width, 1)  # the logit of "the finished answer is right", at the closing token

    def states(self, ids, position, mask):
        """(states after layer `notes_after`, states after the final norm), both [rows, tokens, width].

        position: [rows, tokens]; mask: [rows, 1, tokens, tokens], 0 where a token sees another and -inf elsewhere,
        in the type attention is computed in.
        """
        trunk = self.trunk
        cos, sin = trunk.cos[position][:, None], trunk.sin[position][:, None]
        x = trunk.embed(ids)
        for i, layer in enumerate(trunk.layers):
            if i == self.notes_after:
                middle = x
            x = layer(x, cos, sin, mask)
        return middle, trunk.norm(x)


def save(path, model, **more):
    """Writes whole or not at all."""
    part = path.with_suffix(".part")
    torch.save({"config": model.trunk.config.dict(), "notes_after": model.notes_after, "model": model.state_dict(), **more}, part)
    part.replace(path)


def load(path):
    """A trained reward model, the trunk's matrices rounded as the exported file holds them."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = RewardModel(Config(**saved["config"]), saved["notes_after"])
    model.load_state_dict(saved["model"])
    round_matrices(model.trunk)
    return model.eval()
