"""Writes test/fixtures/rerankers: tiny random rerankers as GGUF, and the scores that transformers gives to pairs of texts.
The engine must give the same.

    pip install transformers==5.23.0
    python tools/rerank_fixture.py && npx biome format --write test/fixtures/rerankers

`bert` has the pooler of BertForSequenceClassification, which llama.cpp's own converter leaves out, as `cls`; its labels
are one, or "no" and "yes". `modern-bert` reads the mean of all states. `qwen3` has one label (the trap: llama.cpp's softmax
over one is 1.0) or "yes" and "no". What is expected of two labels is the difference of their logits.

ggml's CPU backend takes GELU from a table: the tanh approximation, read at F16 and kept as F16. So encoders have two scores,
transformers' own (`score`) and transformers' with that GELU (`tabled`), which nothing but rounding may part from ours.
"""

import argparse
import copy
import json
import random
from pathlib import Path

import gguf
import numpy as np
import tokenizers
import torch
import transformers

from reward_fixture import IN_LAYER, add_sizes, drawn, finish, gguf_name
from tokenizer import SPLIT, pieces

WORDS = ["the", "rain", "falls", "where", "is", "it", "cat", "sat", "mat", "north", "south", "why", "because", "nobody",
         "knows", "seven", "twelve", "sum", "of", "and", "minus", "leaves", "river", "runs", "deep", "yes", "no"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MARKS = list(".,?!:()+-=0123456789")
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
CONTEXT = 64
TEMPLATE = ("<|im_start|>system\nAnswer yes or no.<|im_end|>\n<|im_start|>user\n<Query>: {query}\n<Document>: "
            "{document}<|im_end|>\n<|im_start|>assistant\n")


class TabledGelu(torch.nn.Module):
    """ggml_vec_gelu_f32 with GGML_GELU_FP16."""

    def forward(self, x):
        at = x.half().float()
        y = 0.5 * at * (1 + torch.tanh(0.79788456080286535587989211986876 * at * (1 + 0.044715 * at * at)))
        return torch.where(x <= -10, torch.zeros_like(x), torch.where(x >= 10, x, y.half().float()))


def with_tabled_gelu(model):
    tabled = copy.deepcopy(model)
    for module in tabled.modules():
        for name in ("intermediate_act_fn", "act"):
            if hasattr(module, name):
                setattr(module, name, TabledGelu())
    return tabled


# WordPiece

def wordpiece():
    tokens = SPECIAL + MARKS + LETTERS + ["##" + letter for letter in LETTERS] + ["##ing"] + WORDS
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(
        {token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(
        ("[SEP]", tokens.index("[SEP]")), ("[CLS]", tokens.index("[CLS]")))
    return tokens, tokenizer


def add_wordpiece(writer, tokens):
    def phantom(token):
        if token in SPECIAL:
            return token
        return token[2:] if token.startswith("##") else "\u2581" + token

    kinds = [gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("bert")
    writer.add_token_list([phantom(token) for token in tokens])
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    writer.add_bos_token_id(tokens.index("[CLS]"))
    writer.add_sep_token_id(tokens.index("[SEP]"))
    writer.add_unk_token_id(tokens.index("[UNK]"))
    writer.add_pad_token_id(tokens.index("[PAD]"))
    writer.add_mask_token_id(tokens.index("[MASK]"))


BERT = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
        "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
        "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
BERT_WHOLE = {"bert.embeddings.word_embeddings": "token_embd", "bert.embeddings.position_embeddings": "position_embd",
              "bert.embeddings.token_type_embeddings": "token_types", "bert.embeddings.LayerNorm": "token_embd_norm",
              "bert.pooler.dense": "cls", "classifier": "cls.output"}


def bert(labels, seed):
    tokens, tokenizer = wordpiece()
    config = transformers.BertConfig(
        vocab_size=len(tokens), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=CONTEXT, num_labels=max(len(labels), 1), attn_implementation="eager")
    return drawn(transformers.BertForSequenceClassification(config), seed, 2.5), tokens, tokenizer


def export_bert(path, model, tokens, labels):
    config = model.config
    writer = opened(path, "bert", config, labels)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    add_wordpiece(writer, tokens)
    finish(writer, tensors_of(model, BERT_WHOLE, BERT))


MODERN = {"attn_norm": "attn_norm", "attn.Wqkv": "attn_qkv", "attn.Wo": "attn_output", "mlp_norm": "ffn_norm",
          "mlp.Wi": "ffn_up", "mlp.Wo": "ffn_down"}
MODERN_WHOLE = {"model.embeddings.tok_embeddings": "token_embd", "model.embeddings.norm": "token_embd_norm",
                "model.final_norm": "output_norm", "head.dense": "cls", "head.norm": "cls.norm",
                "classifier": "cls.output"}


def modern_bert(labels, seed):
    tokens, tokenizer = wordpiece()
    config = transformers.ModernBertConfig(
        vocab_size=len(tokens), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=CONTEXT, num_labels=max(len(labels), 1), classifier_pooling="mean", local_attention=16,
        global_attn_every_n_layers=3, pad_token_id=0, attn_implementation="eager")
    return drawn(transformers.ModernBertForSequenceClassification(config), seed), tokens, tokenizer


def export_modern_bert(path, model, tokens, labels):
    config = model.config
    writer = opened(path, "modern-bert", config, labels)
    writer.add_layer_norm_eps(config.norm_eps)
    writer.add_causal_attention(False)
    writer.add_sliding_window(config.local_attention)
    writer.add_sliding_window_pattern(config.global_attn_every_n_layers)
    theta = {kind: values["rope_theta"] for kind, values in config.rope_parameters.items()}
    writer.add_rope_freq_base(theta["full_attention"])
    writer.add_rope_freq_base_swa(theta["sliding_attention"])
    add_wordpiece(writer, tokens)
    finish(writer, tensors_of(model, MODERN_WHOLE, MODERN))


# Byte-level BPE

MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "s"), ("a", "t"), ("Ġ", "a"), ("i", "n")]
CHAT = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_pairs():
    # Byte order, as Qwen's: what each byte is written as.
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokens = alphabet + ["".join(pair) for pair in MERGES] + CHAT
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({token: i for i, token in enumerate(tokens)}, MERGES))
    tokenizer.pre_tokenizer = pieces(SPLIT)
    tokenizer.add_special_tokens(CHAT)
    return tokens, tokenizer


QWEN3_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "score": "cls.output"}


def qwen3(labels, seed):
    tokens, tokenizer = byte_pairs()
    config = transformers.Qwen3Config(
        vocab_size=len(tokens), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, intermediate_size=48, max_position_embeddings=4 * CONTEXT, num_labels=max(len(labels), 1),
        pad_token_id=None, bos_token_id=None, eos_token_id=None, attn_implementation="eager")
    return drawn(transformers.Qwen3ForSequenceClassification(config), seed), tokens, tokenizer


def export_qwen3(path, model, tokens, labels):
    config = model.config
    writer = opened(path, "qwen3", config, labels)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in CHAT else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template([{"name": "rerank", "template": TEMPLATE}])
    finish(writer, tensors_of(model, QWEN3_WHOLE, IN_LAYER))


# Files and scores

def opened(path, architecture, config, labels):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"random {architecture} reranker")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    add_sizes(writer, config)
    if labels:
        writer.add_classifier_output_labels(labels)
    return writer


def tensors_of(model, whole, in_layer):
    return {gguf_name(path, whole, in_layer): values for path, values in model.state_dict().items()}


def texts(seed):
    """A query and the documents it is paired with; the first documents begin like each other, as growing answers do."""
    draw = random.Random(seed)

    def text(words):
        picked = draw.choices(WORDS + ["xyz", "Paris", "42.", "it,", "cats"], k=words)
        return " ".join(picked)

    found = []
    for length in (3, 5, 8):
        whole = text(12)
        grown = [whole[:cut] for cut in (1, 9, 20, 33)]
        found.append((text(length) + "?", grown + [text(draw.randint(1, 12)) for _ in range(5)]))
    return found


@torch.no_grad()
def score(model, ids, labels):
    logits = model(torch.tensor([ids])).logits[0]
    if len(labels) < 2:
        return logits[0].item()
    return (logits[labels.index("yes")] - logits[labels.index("no")]).item()


MODELS = [
    ("bert", bert, export_bert, []),
    ("bert-yes-no", bert, export_bert, ["no", "yes"]),
    ("modern-bert", modern_bert, export_modern_bert, []),
    ("qwen3", qwen3, export_qwen3, []),
    ("qwen3-yes-no", qwen3, export_qwen3, ["yes", "no"]),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/rerankers"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    found = []
    for seed, (name, build, export, labels) in enumerate(MODELS, 11):
        model, tokens, tokenizer = build(labels, seed)
        path = args.out / f"{name}.gguf"
        export(path, model, tokens, labels)
        tabled = None if build is qwen3 else with_tabled_gelu(model)
        cases = []
        for query, documents in texts(seed):
            for document in documents:
                # One tokenizer call for the pair, as those who trained such models do it.
                if build is qwen3:
                    ids = tokenizer.encode(TEMPLATE.replace("{query}", query).replace("{document}", document)).ids
                else:
                    ids = tokenizer.encode(query, document).ids
                value = round(score(model, ids, labels), 7)
                case = {"query": query, "document": document, "tokens": ids, "score": value}
                if tabled is not None:
                    case["tabled"] = round(score(tabled, ids, labels), 7)
                cases.append(case)
        found.append({"name": name, "cases": cases})
        scores = np.array([case["score"] for case in cases])
        longest = max(len(case["tokens"]) for case in cases)
        print(f"{name}: {path.stat().st_size} bytes, {len(cases)} pairs of up to {longest} tokens, "
              f"{scores.min():.3f} to {scores.max():.3f}, deviation {scores.std():.3f}")
    content = {"transformers": transformers.__version__, "models": found}
    (args.out / "scores.json").write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
