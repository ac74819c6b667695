"""Writes test/fixtures/rewards: tiny random reward models as transformers saves them and as GGUF, and the rewards that
transformers gives. The engine must give the same.

    pip install transformers==5.23.0
    python tools/reward_fixture.py && npx biome format --write test/fixtures/rewards

Every model has grouped heads and weights large enough that each part matters. Mistral has no sliding window: llama.cpp
reads its models as `llama`, which has none.
"""

import argparse
import json
import random
import re
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers

SIZES = dict(vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-3, num_labels=1, pad_token_id=None,
             bos_token_id=None, eos_token_id=None)
# What sets each apart. Heads of 16 in a model 32 wide: keys are longer than width / heads.
MODELS = {
    "llama": dict(rope=500000.0),
    "mistral": dict(rope=10000.0, sliding_window=None),
    "qwen2": dict(rope=1000000.0),
    "qwen3": dict(rope=1000000.0, head_dim=16),
    "gemma2": dict(rope=10000.0, head_dim=16, query_pre_attn_scalar=16, sliding_window=24, attn_logit_softcapping=5.0),
}
# llama.cpp's name of a model and whether it wants the rows of Q and K in pairs (RoPE of neighbours, not of halves).
ARCHITECTURES = {"llama": ("llama", True), "mistral": ("llama", True), "qwen2": ("qwen2", False),
                 "qwen3": ("qwen3", False), "gemma2": ("gemma2", False)}
WHOLE = {"embed_tokens": "token_embd", "norm": "output_norm"}
IN_LAYER = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
            "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
            "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
            "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
# Gemma 2 norms what a part adds as well as what it reads.
IN_LAYER_OF_GEMMA2 = IN_LAYER | {"post_attention_layernorm": "post_attention_norm",
                                 "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}
SHARED = (1, 9, 30)  # sequences come in families that share this many first tokens
FAMILY = 8
LONGEST = 80


def build(name, seed):
    rest = dict(MODELS[name])
    rope = {"rope_type": "default", "rope_theta": rest.pop("rope")}
    # Eager: of the attentions it alone knows Gemma's cap on logits.
    config = transformers.AutoConfig.for_model(name, **SIZES, **rest, rope_parameters=rope, attn_implementation="eager")
    return drawn(transformers.AutoModelForSequenceClassification.from_config(config), seed)


@torch.no_grad()
def drawn(model, seed, scale=1.5):
    """Random weights, large enough that each part matters."""
    generator = torch.Generator().manual_seed(seed)
    for path, weight in sorted(model.named_parameters()):
        noise = torch.randn(weight.shape, generator=generator)
        if "norm" in path.lower() and path.endswith("weight"):
            weight.add_(0.2 * noise)  # around what it starts at: 1, and 0 for Gemma
        elif weight.ndim == 1:
            weight.copy_(0.5 * noise)
        else:
            weight.copy_(noise * (1 if "embed" in path else scale * weight.shape[1] ** -0.5))
    return model.float().eval()


def gguf_name(path, whole, in_layer):
    """`layers.0.mlp.up_proj.weight` -> `blk.0.ffn_up.weight`."""
    stem, kind = path.rsplit(".", 1)
    if stem in whole:
        return f"{whole[stem]}.{kind}"
    layer, part = re.search(r"\blayers?\.(\d+)\.(.+)", stem).groups()
    return f"blk.{layer}.{in_layer[part]}.{kind}"


def paired(rows, heads):
    """Row i of a head's first half beside row i of its second half."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def export(model, name, path):
    """The backbone without its head, F32, with neither tokenizer nor output matrix."""
    c = model.config
    architecture, pairs = ARCHITECTURES[name]
    head_size = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"random {name} reward model")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(c.vocab_size)
    add_sizes(writer, c)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    if name == "gemma2":
        writer.add_sliding_window(c.sliding_window)
        writer.add_attn_logit_softcapping(c.attn_logit_softcapping)
        writer.add_final_logit_softcapping(c.final_logit_softcapping)
    tensors = {}
    for path, values in model.model.state_dict().items():
        if pairs and ".q_proj." in path:
            values = paired(values, c.num_attention_heads)
        if pairs and ".k_proj." in path:
            values = paired(values, c.num_key_value_heads)
        if name == "gemma2" and path.endswith("norm.weight"):
            values = values + 1
        tensors[gguf_name(path, WHOLE, IN_LAYER_OF_GEMMA2 if name == "gemma2" else IN_LAYER)] = values
    finish(writer, tensors)


def add_sizes(writer, config):
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)


def finish(writer, tensors):
    for name, values in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(values.numpy(), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def families(seed):
    """Lists of token sequences, 1 to LONGEST long; the first of a family is what its others begin with."""
    draw = random.Random(seed)

    def tokens(count):
        return [draw.randrange(SIZES["vocab_size"]) for _ in range(count)]

    lists = []
    for shared in SHARED:
        prefix = tokens(shared)
        # One of them is the longest: longer than Gemma's window wherever the prefix ends.
        lengths = [LONGEST - shared] + [draw.randint(1, LONGEST - shared) for _ in range(FAMILY - 2)]
        lists.append([prefix] + [prefix + tokens(length) for length in lengths])
    return lists


@torch.no_grad()
def reward(model, tokens):
    # One sequence a call: without a padding token its reward is read at the last token.
    return round(model(torch.tensor([tokens])).logits.item(), 7)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/rewards"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for seed, name in enumerate(MODELS, 1):
        model = build(name, seed)
        model.save_pretrained(args.out / name)
        export(model, name, args.out / f"{name}.gguf")
        cases = [[{"tokens": tokens, "reward": reward(model, tokens)} for tokens in family]
                 for family in families(seed)]
        found.append({"name": name, "families": cases})
        rewards = np.array([case["reward"] for family in cases for case in family])
        extent = f"{rewards.min():.3f} to {rewards.max():.3f}"
        print(f"{name}: {len(rewards)} rewards, {extent}, deviation {rewards.std():.3f}")
    content = {"transformers": transformers.__version__, "models": found}
    (args.out / "rewards.json").write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
