"""Trains the generator and, from the first step on, per-token judgements read from its final state.

A frozen small generator does not hold in its states whether it has erred: the digit it expects arises only in its last
layers, so later positions cannot compare it with the digit that was drawn.  Trained jointly, the layers learn to compare.

    python tools/tokenizer.py --out tools/build/tokenizer.json
    python tools/train_generator.py --minutes 55

Data are drawn afresh for every step.  A run that was cut short goes on from its last checkpoint with --resume.
"""

import argparse
import contextlib
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import problems
import tokenizer as words
from batches import grouped, prefetch
from equations import results
from model import Config, Generator, Judge
from muon import Muon

POOL = 768  # solutions drawn together and sorted by length, so that a batch needs little padding
VERDICT_WEIGHTS = torch.tensor([1.0, 3.0, 0.5])  # mistake so far, mistake in this sentence, final answer


def encode(tokenizer, problem, solution):
    """(ids, length of the prompt, token labels: [mistake so far, mistake in this sentence, right result or -1])."""
    text, spans, _ = solution
    prompt = words.prompt_ids(tokenizer, problem.text)
    encoding = tokenizer.encode(text, add_special_tokens=False)
    labels, end, sentence, erred = [], 0, 0, False
    equations = list(results(text, [stop for _, stop, _ in spans]))
    for token in encoding.tokens:
        end += len(token)  # byte-level tokens of plain ASCII: one character per byte
        while end > spans[sentence][1]:
            sentence += 1
        first = spans[sentence][2]
        here = first is not None and end > first
        erred = erred or here
        while equations and end > equations[0][1]:
            equations.pop(0)
        result = equations[0][2] if equations and end > equations[0][0] else -1
        labels.append((erred, here, result))
    return prompt + encoding.ids + [words.EOS], len(prompt), labels


def pools(tokenizer, seed, limit, carelessness, longest):
    rng = random.Random(seed)
    while True:
        batch = []
        while len(batch) < POOL:
            problem = problems.draw_problem(rng, rng.randint(3, longest))
            if problem.split != "train":
                continue
            solution = problems.solve(problem, rng, carelessness)
            batch.append((*encode(tokenizer, problem, solution), solution[2] == problem.answer))
        yield from map(collate, grouped(batch, limit, rng))


def collate(group):
    length = max(len(ids) for ids, *_ in group)
    length = -(-length // 16) * 16
    ids = torch.full((len(group), length), words.PAD)
    targets = torch.full((len(group), length), -100)
    judged = torch.zeros(len(group), length, dtype=torch.bool)
    truth = torch.zeros(len(group), length, 3)
    expected = torch.full((len(group), length), -1)
    for row, (tokens, prompt, labels, right) in enumerate(group):
        ids[row, :len(tokens)] = torch.tensor(tokens)
        targets[row, prompt - 1:len(tokens) - 1] = torch.tensor(tokens[prompt:])
        stop = prompt + len(labels)
        judged[row, prompt:stop] = True
        truth[row, prompt:stop, :2] = torch.tensor([label[:2] for label in labels]).float()
        expected[row, prompt:stop] = torch.tensor([label[2] for label in labels])
        truth[row, prompt:stop, 2] = float(right)
    return ids, targets, judged, truth, expected


def losses(model, judge, batch, autocast):
    ids, targets, judged, truth, expected = batch
    known = expected >= 0
    with autocast():
        states = model.states(ids)
        said = targets >= 0
        logits = model.logits(states[said]).float()
        verdicts = judge(states[judged]).float()
        digits = judge.result(states[known]).float().view(-1, 10)
    language = F.cross_entropy(logits, targets[said])
    verdict = F.binary_cross_entropy_with_logits(verdicts, truth[judged], reduction="none").mean(0)
    wanted = torch.stack([expected[known] // unit % 10 for unit in (1, 10, 100)], 1).flatten()
    return language, verdict, F.cross_entropy(digits, wanted)


def save(path, model, judge, adam, muon, state):
    torch.save({"config": model.config.dict(), "model": model.state_dict(), "judge": judge.state_dict(),
                "adam": adam.state_dict(), "muon": muon.state, "progress": state}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=55, help="wall-clock length of the run; the learning rate falls to it")
    parser.add_argument("--tokens", type=int, default=8192, help="tokens in a batch, padding included")
    parser.add_argument("--rate", type=float, default=0.003, help="Muon's learning rate")
    parser.add_argument("--adam-rate", type=float, default=0.0015)
    parser.add_argument("--judge-weight", type=float, default=1.0)
    parser.add_argument("--carelessness", type=float, default=1.0)
    parser.add_argument("--longest", type=int, default=12)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--tokenizer", type=Path, default=Path("tools/build/tokenizer.json"))
    parser.add_argument("--out", type=Path, default=Path("tools/build/generator.pt"))
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = words.load(args.tokenizer)
    model = Generator(Config(vocab=tokenizer.get_vocab_size(), layers=args.layers))
    judge = Judge(model.config.width)
    matrices = [p for p in model.layers.parameters() if p.dim() == 2]
    others = [model.embed.weight, *(p for p in model.parameters() if p.dim() == 1), *judge.parameters()]
    adam = torch.optim.AdamW(others, lr=args.adam_rate, betas=(0.9, 0.98), weight_decay=0.0)
    muon = Muon(matrices)
    progress = {"step": 0, "tokens": 0, "seconds": 0.0, "runs": 0}
    if args.resume:
        saved = torch.load(args.out, weights_only=True)
        model.load_state_dict(saved["model"])
        missing = judge.load_state_dict(saved["judge"], strict=False).missing_keys
        if not missing:
            adam.load_state_dict(saved["adam"])
        muon.state = saved["muon"]
        progress = saved["progress"]
    progress["runs"] += 1
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)

    bf16 = args.precision == "bf16"
    autocast = (lambda: torch.autocast("cpu", torch.bfloat16)) if bf16 else contextlib.nullcontext
    if args.compile:
        model.states = torch.compile(model.states, dynamic=True)
    stream = prefetch(pools(tokenizer, args.seed * 1000 + progress["runs"], args.tokens, args.carelessness, args.longest))
    start, before, saved_at, mark = time.time(), progress["seconds"], time.time(), (time.time(), progress["tokens"])
    while True:
        progress["seconds"] = before + time.time() - start
        part = progress["seconds"] / (60 * args.minutes)
        if part >= 1:
            break
        # Even rate, then a straight fall over the last 45%: a run cut short still leaves a usable model.
        scale = min(1, (progress["step"] + 1) / 60) * min(1, max(0.02, (1 - part) / 0.45))
        batch = next(stream)
        language, verdict, result = losses(model, judge, batch, autocast)
        (language + args.judge_weight * ((verdict * VERDICT_WEIGHTS).sum() + result)).backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for group in adam.param_groups:
            group["lr"] = args.adam_rate * scale
        adam.step()
        muon.step(args.rate * scale, 0.02)
        model.zero_grad(set_to_none=True)
        judge.zero_grad(set_to_none=True)
        progress["step"] += 1
        progress["tokens"] += int((batch[0] != words.PAD).sum())
        if progress["step"] % 20 == 0:
            now = time.time()
            speed = (progress["tokens"] - mark[1]) / (now - mark[0])
            mark = (now, progress["tokens"])
            print(f"{progress['seconds'] / 60:6.2f} min  step {progress['step']:5d}  {progress['tokens'] / 1e6:6.2f} Mtok  {speed:6.0f} tok/s  "
                  f"lm {language.item():.4f}  so far {verdict[0].item():.4f}  here {verdict[1].item():.4f}  "
                  f"final {verdict[2].item():.4f}  result {result.item():.4f}", flush=True)
        if time.time() - saved_at > 120:
            save(args.out, model, judge, adam, muon, progress)
            saved_at = time.time()
    save(args.out, model, judge, adam, muon, progress)
    print("done", math.floor(progress["seconds"]), "s", progress["tokens"], "tokens", flush=True)


if __name__ == "__main__":
    main()
