"""Writes a trained generator as a GGUF file that llama.cpp loads: matrices in F16, norms in F32, real BPE vocabulary.

    python tools/export_gguf.py --checkpoint tools/build/generator.pt --out models/winnow-arith.gguf
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np

import tokenizer as words
from model import load

NAME = "winnow-arith"
ABOUT = "Writes solutions to arithmetic word problems, with a careless pupil's mistakes"


def add_vocabulary(writer, tokenizer, special, split, template):
    size = tokenizer.get_vocab_size()
    tokens = [tokenizer.id_to_token(i) for i in range(size)]
    kinds = [gguf.TokenType.CONTROL if i < len(special) else gguf.TokenType.NORMAL for i in range(size)]
    kinds[words.UNKNOWN] = gguf.TokenType.UNKNOWN
    merges = [m if isinstance(m, str) else " ".join(m) for m in json.loads(tokenizer.to_str())["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(words.BOS)
    writer.add_eos_token_id(words.EOS)
    writer.add_unk_token_id(words.UNKNOWN)
    writer.add_pad_token_id(words.PAD)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(template)


def export(model, tokenizer, path, name=NAME, about=ABOUT, special=words.SPECIAL, split="qwen2", template=words.CHAT_TEMPLATE):
    """`special`: the control tokens, first in the vocabulary; `split`: llama.cpp's name of the pre-tokenizer."""
    c = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_description(about)
    writer.add_license("MIT")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(c.vocab)
    writer.add_context_length(c.context)
    writer.add_embedding_length(c.width)
    writer.add_block_count(c.layers)
    writer.add_feed_forward_length(c.hidden)
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.kv_heads)
    writer.add_key_length(c.head_size)
    writer.add_value_length(c.head_size)
    writer.add_rope_dimension_count(c.head_size)
    writer.add_rope_freq_base(c.rope_base)
    writer.add_layer_norm_rms_eps(c.eps)
    add_vocabulary(writer, tokenizer, special, split, template)

    def put(name, tensor):
        array = tensor.detach().numpy()
        writer.add_tensor(name + ".weight", array.astype(np.float32 if array.ndim == 1 else np.float16))

    put("token_embd", model.embed.weight)
    for i, layer in enumerate(model.layers):
        for name, part in (("attn_norm", layer.attn_norm), ("attn_q", layer.q), ("attn_k", layer.k), ("attn_v", layer.v),
                           ("attn_output", layer.o), ("ffn_norm", layer.ffn_norm), ("ffn_gate", layer.gate),
                           ("ffn_up", layer.up), ("ffn_down", layer.down)):
            put(f"blk.{i}.{name}", part.weight)
    put("output_norm", model.norm.weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("tools/build/generator.pt"))
    parser.add_argument("--tokenizer", type=Path, default=Path("tools/build/tokenizer.json"))
    parser.add_argument("--out", type=Path, default=Path("models/winnow-arith.gguf"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    export(load(args.checkpoint), words.load(args.tokenizer), args.out)
    print(args.out, args.out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
