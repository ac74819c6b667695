"""Trains the reward model: from a problem and any beginning of a solution, whether the finished answer will be right.

A judge reads the solution as input, so it can compare what is written with what should be. The layers are led there in order:
the state in the middle must know what the problem asks for and what the right result is (reward_labels.py), the final state at
every token whether that is what is written. The score itself is trained at the closing token, after cuts at random places and
at the end, with cross-entropy and with a ranking loss between solutions of one problem.

    python tools/reward_tokenizer.py
    python tools/train_reward.py --compile --minutes 90 --chains tools/build/train-chains.jsonl

Pupils' solutions are drawn afresh for every step; sampled chains of the generator (tools/chains.mjs) take the share of the rows
that --chain-share says. A run that was cut short goes on from its last checkpoint with --resume.
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
import reward_model as models
import reward_rows as rows
import reward_tokenizer as words
from batches import grouped, prefetch
from muon import Muon
from reward_labels import UNKNOWN, of_any, of_pupil
from reward_score import Watch, read_chains
from reward_start import start_from

POOL = 256  # rows drawn together and sorted by length, so that a batch needs little padding
VERDICT_WEIGHTS = torch.tensor([1.0, 3.0, 0.5])  # mistake so far, mistake in this sentence, final answer


def cuts(text, shares, rng):
    """Where to cut: at these shares of the text, mostly not inside a word, as a generator's tokens seldom end there."""
    for share in shares:
        cut = min(len(text), max(1, round(share * len(text))))
        while cut < len(text) and text[cut - 1].isalpha() and text[cut].isalpha() and rng.random() < 0.9:
            cut += 1
        yield cut


def pupils_row(tokenizer, rng, args, shares):
    while True:
        problem = problems.draw_problem(rng, rng.randint(3, args.longest))
        if problem.split == "train":
            break
    carelessness = args.carelessness * rng.uniform(0.5, 1.1)  # long problems would else have hardly a right solution
    solutions = []
    for _ in range(args.solutions):
        solution = problems.solve(problem, rng, carelessness)
        right = solution[2] == problem.answer
        solutions.append(rows.Solution(solution[0], right, list(cuts(solution[0], shares, rng)), *of_pupil(problem, solution)))
    return rows.row(tokenizer, problem.text, solutions)


def chains_row(tokenizer, rng, chains, args, shares):
    prompt, answer, texts = rng.choice(chains)
    solutions = []
    for text in rng.sample(texts, args.solutions):
        right = problems.is_right(text, answer)
        solutions.append(rows.Solution(text, right, list(cuts(text, shares, rng)), *of_any(text, right)))
    return rows.row(tokenizer, prompt, solutions)


def batches(tokenizer, seed, args, chains):
    rng = random.Random(seed)
    while True:
        pool = []
        while len(pool) < POOL:
            # The same shares for all solutions of a row, so that they can be ranked against each other.
            shares = sorted(rng.random() for _ in range(args.cuts - 1)) + [1.0]
            if chains and rng.random() < args.chain_share:
                pool.append(chains_row(tokenizer, rng, chains, args, shares))
            else:
                pool.append(pupils_row(tokenizer, rng, args, shares))
        yield from map(rows.collate, grouped(pool, args.tokens, rng))


def losses(model, batch, autocast, dtype):
    """score, ranking, verdicts [3], notes, and the share of right digits among the results."""
    notes, verdicts, right = batch["notes"], batch["verdicts"], batch["right"]
    noted, judged = (notes != UNKNOWN).any(-1), verdicts[..., 2] >= 0
    with autocast():
        middle, final = model.states(batch["ids"], batch["position"], batch["mask"].to(dtype))
        digits = model.notes(middle[noted]).float().view(-1, models.NOTES, 10)
        said = model.verdict(final[judged]).float()
        closing = batch["closing"].flatten(1)
        score = model.score(final.gather(1, closing[..., None].expand(-1, -1, final.shape[-1]))).float()
    score = score.view(batch["closing"].shape)
    truth = right[..., None].expand_as(score).float()
    gap = score[:, :, None] - score[:, None, :]
    pairs = (right[:, :, None] & ~right[:, None, :])[..., None].expand_as(gap)
    ranking = (F.softplus(-gap) * pairs).sum() / pairs.sum().clamp(min=1)
    known = verdicts[judged] >= 0
    verdict = F.binary_cross_entropy_with_logits(said, verdicts[judged].clamp(min=0), reduction="none")
    verdict = (verdict * known).sum(0) / known.sum(0).clamp(min=1)
    wanted = notes[noted]
    note = F.cross_entropy(digits.flatten(0, 1), wanted.flatten(), ignore_index=UNKNOWN)
    known = wanted[:, 7:] != UNKNOWN
    hit = (digits[:, 7:].argmax(-1) == wanted[:, 7:])[known].float().mean()
    return F.binary_cross_entropy_with_logits(score, truth), ranking, verdict, note, hit


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=90, help="wall-clock length of the run; the learning rate falls to it")
    parser.add_argument("--tokens", type=int, default=8192, help="tokens in a batch, padding included")
    parser.add_argument("--rate", type=float, default=0.003, help="Muon's learning rate")
    parser.add_argument("--adam-rate", type=float, default=0.0015)
    parser.add_argument("--ranking", type=float, default=0.5, help="weight of the ranking loss")
    parser.add_argument("--verdicts", type=float, default=1.0, help="weight of the verdicts at every token")
    parser.add_argument("--notes", type=float, default=1.0, help="weight of the notes")
    parser.add_argument("--start", type=Path, help="checkpoint of train_generator.py to start from; without it from random weights")
    parser.add_argument("--start-tokenizer", type=Path, default=Path("tools/build/tokenizer.json"), help="of that generator")
    parser.add_argument("--notes-after", type=int, default=8, help="layers below the state the notes are read from")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--solutions", type=int, default=2, help="solutions in a row")
    parser.add_argument("--cuts", type=int, default=4, help="places at which each is judged, its end among them")
    parser.add_argument("--carelessness", type=float, default=1.0)
    parser.add_argument("--longest", type=int, default=12, help="events of a pupil's problem, at most")
    parser.add_argument("--chains", type=Path, help="sampled solutions to training problems, as tools/chains.mjs writes them")
    parser.add_argument("--chain-share", type=float, default=0.4, help="of the rows, where there are chains")
    parser.add_argument("--watch", type=float, default=10, help="minutes between two looks at validation problems; 0 for none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--tokenizer", type=Path, default=Path("tools/build/reward-tokenizer.json"))
    parser.add_argument("--out", type=Path, default=Path("tools/build/reward.pt"))
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = words.load(args.tokenizer)
    model = models.RewardModel(models.config(tokenizer.get_vocab_size(), layers=args.layers), args.notes_after)
    if args.start and not args.resume:
        print(start_from(model, args.start, tokenizer, words.load(args.start_tokenizer)), "layers from", args.start)
    matrices = [p for p in model.trunk.layers.parameters() if p.dim() == 2]
    inside = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in inside]
    adam = torch.optim.AdamW(others, lr=args.adam_rate, betas=(0.9, 0.98), weight_decay=0.0)
    muon = Muon(matrices)
    progress = {"step": 0, "tokens": 0, "seconds": 0.0, "runs": 0}
    if args.resume:
        saved = torch.load(args.out, weights_only=True)
        model.load_state_dict(saved["model"])
        adam.load_state_dict(saved["adam"])
        muon.state, progress = saved["muon"], saved["progress"]
    progress["runs"] += 1
    print(sum(p.numel() for p in model.trunk.parameters()), "parameters", flush=True)

    bf16 = args.precision == "bf16"
    dtype = torch.bfloat16 if bf16 else torch.float32
    autocast = (lambda: torch.autocast("cpu", torch.bfloat16)) if bf16 else contextlib.nullcontext
    plain = model.states
    if args.compile:
        model.states = torch.compile(model.states, dynamic=True)
    chains = [chain for chain in read_chains(args.chains) if len(chain[2]) >= args.solutions] if args.chains else []
    watch = Watch(tokenizer) if args.watch else None
    stream = prefetch(batches(tokenizer, args.seed * 1000 + progress["runs"], args, chains))

    def save():
        models.save(args.out, model, adam=adam.state_dict(), muon=muon.state, progress=progress)

    def look():
        fast, model.states = model.states, plain
        print(f"{progress['seconds'] / 60:6.2f} min  within problems", watch.measure(model), flush=True)
        model.states = fast

    start, before = time.time(), progress["seconds"]
    saved_at, looked_at, mark, waited = start, start, (start, progress["tokens"]), 0.0
    while True:
        progress["seconds"] = before + time.time() - start
        part = progress["seconds"] / (60 * args.minutes)
        if part >= 1:
            break
        # Even rate, then a straight fall over the last 45%: a run cut short still leaves a usable model.
        scale = min(1, (progress["step"] + 1) / 60) * min(1, max(0.02, (1 - part) / 0.45))
        asked = time.time()
        batch = next(stream)
        waited += time.time() - asked
        score, ranking, verdict, note, hit = losses(model, batch, autocast, dtype)
        (score + args.ranking * ranking + args.verdicts * (verdict * VERDICT_WEIGHTS).sum() + args.notes * note).backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for group in adam.param_groups:
            group["lr"] = args.adam_rate * scale
        adam.step()
        muon.step(args.rate * scale, 0.02)
        model.zero_grad(set_to_none=True)
        progress["step"] += 1
        progress["tokens"] += int((batch["ids"] != words.PAD).sum())
        if progress["step"] % 20 == 0:
            now = time.time()
            speed = (progress["tokens"] - mark[1]) / (now - mark[0])
            mark = (now, progress["tokens"])
            print(f"{progress['seconds'] / 60:6.2f} min  step {progress['step']:5d}  {progress['tokens'] / 1e6:6.2f} Mtok  {speed:6.0f} tok/s  "
                  f"waited {waited:4.1f} s  score {score.item():.4f}  ranking {ranking.item():.4f}  so far {verdict[0].item():.4f}  "
                  f"here {verdict[1].item():.4f}  final {verdict[2].item():.4f}  notes {note.item():.4f}  results {hit.item():.3f}", flush=True)
            waited = 0.0
        if time.time() - saved_at > 120:
            save()
            saved_at = time.time()
        if watch and time.time() - looked_at > 60 * args.watch:
            look()
            looked_at = time.time()
            mark = (looked_at, progress["tokens"])
    save()
    if watch:
        look()
    print("done", math.floor(progress["seconds"]), "s", progress["tokens"], "tokens", flush=True)


if __name__ == "__main__":
    main()
