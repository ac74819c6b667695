"""A reward model that starts where the generator ended, as reward models do: its layers below, new ones above.

The tokenizers differ. A token of the reward model starts as the mean of the generator's tokens for the same text; the special
tokens have the same ids in both, but for the judge token, which is new. A new layer adds nothing at first.
"""

import torch

import reward_tokenizer as words
import tokenizer as spoken


def start_from(model, path, tokenizer, generator_tokenizer):
    """Fills `model` (reward_model.RewardModel) from a checkpoint of train_generator.py; widths must be equal. Returns the layers taken."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    ours, theirs = model.trunk.config, saved["config"]
    for what in ("width", "hidden", "heads", "kv_heads", "head_size", "rope_base"):
        if getattr(ours, what) != theirs[what]:
            raise ValueError(f"expected {what} {theirs[what]} as in {path} but received {getattr(ours, what)}")
    weights = saved["model"]
    known = {name: value for name, value in weights.items() if name.startswith("layers.")}
    model.trunk.load_state_dict({**model.trunk.state_dict(), **known, "norm.weight": weights["norm.weight"]})
    for layer in model.trunk.layers[theirs["layers"]:]:
        torch.nn.init.zeros_(layer.o.weight)
        torch.nn.init.zeros_(layer.down.weight)
    with torch.no_grad():
        for token in range(ours.vocab):
            if token in (words.JUDGE, words.PAD):
                continue
            text = tokenizer.decode([token], skip_special_tokens=False)
            ids = [token] if token < len(spoken.SPECIAL) else generator_tokenizer.encode(text, add_special_tokens=False).ids
            if ids:
                model.trunk.embed.weight[token] = weights["embed.weight"][ids].mean(0)
    return theirs["layers"]
