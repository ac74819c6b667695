"""Writes a llama-architecture GGUF file as a folder that transformers loads: config, weights in safetensors, tokenizer.

    python bench/peers/export.py models/winnow-arith.gguf FOLDER
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import tokenizer as words  # noqa: E402

PARTS = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
         "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


def halves(weight, size):
    """Rows of each head from pairs (2i, 2i+1), which llama.cpp turns, to (i, i + size/2), which transformers turns."""
    rows, width = weight.shape
    return weight.reshape(rows // size, size // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def weights(reader, size):
    tensors = {}
    for tensor in reader.tensors:
        name = tensor.name.removesuffix(".weight")
        array = np.asarray(tensor.data, dtype=np.float32)
        if name in WHOLE:
            tensors[f"{WHOLE[name]}.weight"] = array
            continue
        _, layer, part = name.split(".")
        turned = halves(array, size) if part in ("attn_q", "attn_k") else array
        tensors[f"model.layers.{layer}.{PARTS[part]}.weight"] = np.ascontiguousarray(turned)
    return tensors


def config(field):
    size = field("llama.attention.key_length")
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": field("llama.vocab_size"),
            "hidden_size": field("llama.embedding_length"), "num_hidden_layers": field("llama.block_count"),
            "intermediate_size": field("llama.feed_forward_length"), "num_attention_heads": field("llama.attention.head_count"),
            "num_key_value_heads": field("llama.attention.head_count_kv"), "head_dim": size,
            "rms_norm_eps": field("llama.attention.layer_norm_rms_epsilon"),
            "rope_parameters": {"rope_type": "default", "rope_theta": field("llama.rope.freq_base")},
            "max_position_embeddings": field("llama.context_length"), "tie_word_embeddings": True, "hidden_act": "silu",
            "bos_token_id": words.BOS, "eos_token_id": words.EOS, "pad_token_id": words.PAD, "dtype": "float32"}


def tokenizer(field):
    tokens = field("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    made = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    made.pre_tokenizer = words.pieces(words.SPLIT)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(words.SPECIAL)
    return made


def export(path, folder):
    reader = gguf.GGUFReader(path)

    def field(name):
        return reader.fields[name].contents()

    folder.mkdir(parents=True, exist_ok=True)
    made = config(field)
    save_file(weights(reader, made["head_dim"]), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(made, indent=1))
    tokenizer(field).save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]))
