#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Train a model on packed rows, on the CPU (one process a core, gradients in shared memory) or on one GPU.

The learning rate warms up, then falls to nothing over the last part (--cooldown) of the time given by --minutes, so that a
run always ends in time. SIGTERM saves and stops; a stopped run goes on from its checkpoint (time already trained counts).
Matrices are trained with Muon, embeddings and norms with AdamW.
"""
import argparse
import json
import os
import signal
import sys
import time

for name, value in {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_MAX_": "0",  # keep big buffers: fresh pages cost a tenth of the time
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
}.items():
    if name not in os.environ:
        os.environ[name] = value
        os.environ["ULM_AGAIN"] = "1"
if os.environ.pop("ULM_AGAIN", None) and __name__ == "__main__":
    os.execv(sys.executable, [sys.executable] + sys.argv)

import numpy as np
import torch
import torch.multiprocessing as mp

import batches
import fused
import gguf
import model as models


def newton_schulz(g, steps=5):
    """The nearest semi-orthogonal matrix to each of a stack, roughly: a quintic iteration on singular values."""
    x = g.bfloat16()
    flip = x.shape[1] > x.shape[2]
    if flip:
        x = x.transpose(1, 2)
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(steps):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.775 * a + 2.0315 * (a @ a)) @ x
    return (x.transpose(1, 2) if flip else x).float()


class Optimizer:
    """Muon for the layers' matrices and AdamW for the rest. With several workers each one updates its own share of the
    parameters, reading all workers' gradients and writing to the parameters they share."""

    def __init__(self, net, args, workers, share):
        self.args, self.workers = args, workers
        self.params = list(net.named_parameters())
        self.state = {n: torch.zeros_like(p.data) for n, p in self.params}
        self.second = {n: torch.zeros_like(p.data) for n, p in self.params if not self.is_matrix(n, p)}
        load = [0.0] * workers
        self.owner = {}
        for n, p in sorted(self.params, key=lambda q: -q[1].numel() * (1 if q[0] == "embed" else 8)):
            w = load.index(min(load))
            self.owner[n] = w
            load[w] += p.numel() * (1 if n == "embed" else 8)
        if share:
            for t in [*self.state.values(), *self.second.values()]:
                t.share_memory_()

    @staticmethod
    def is_matrix(name, p):
        return p.dim() == 2 and name != "embed"

    @torch.no_grad()
    def step(self, rank, grads, step, scale):
        a, stacks = self.args, {}
        for n, p in self.params:
            if self.owner[n] != rank:
                continue
            g = grads[0][n]
            for other in grads[1:]:
                g = g + other[n]
            m = self.state[n]
            if self.is_matrix(n, p):
                m.mul_(a.momentum).add_(g)
                stacks.setdefault(tuple(p.shape), []).append((p, g.add(m, alpha=a.momentum)))
            else:
                b1, b2 = 0.9, 0.98
                v = self.second[n]
                m.mul_(b1).add_(g, alpha=1 - b1)
                v.mul_(b2).addcmul_(g, g, value=1 - b2)
                denom = (v / (1 - b2**step)).sqrt_().add_(1e-9)
                p.data.addcdiv_(m, denom, value=-a.adam_lr * scale / (1 - b1**step))
        for (rows, cols), items in stacks.items():
            update = newton_schulz(torch.stack([g for _, g in items]))
            lr = a.lr * scale
            for (p, _), u in zip(items, update):
                p.data.mul_(1 - lr * a.decay).add_(u, alpha=-lr * max(1.0, rows / cols) ** 0.5)


def rate(progress, step, args):
    """Warm-up by steps, then constant, then a straight line to nothing at the end of the time."""
    warm = min(1.0, (step + 1) / args.warmup)
    fall = 1.0 if progress < 1 - args.cooldown else max(0.0, (1 - progress) / args.cooldown)
    return warm * fall


def near(w, value):
    return (w - value).abs() < 0.01


def held_loss(net, part, device, dtype):
    losses, n = 0.0, 0
    with torch.no_grad():
        for rows in part.batches(0, 2048):
            ids, weight = (torch.from_numpy(x).to(device) for x in part.batch(rows))
            _, each, _ = net.loss(ids, weight, dtype)
            losses, n = losses + float(each.sum()), n + len(each)
    return losses / max(1, n)


def worker(rank, net, opt, shared, sched, args, resume, library):
    device = torch.device(args.device)
    dtype = torch.float32 if args.float32 else torch.bfloat16
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    grads, barrier, control = shared
    named = list(net.named_parameters())
    if args.workers > 1 or library:
        for n, p in named:
            p.grad = grads[rank][n] if args.workers > 1 else torch.zeros_like(p.data)
    torch.manual_seed(1000 * args.seed + 10 * resume["step"] + rank)
    quick = fused.Fused(net, library, args.dropout) if library else None
    start, before, step = time.time(), resume["seconds"], resume["step"]
    sched.state.update(resume["schedule"])
    tokens, seen, saved, logged = resume["tokens"], np.zeros(6), time.time(), time.time()
    log = open(os.path.join(args.out, "log.tsv"), "a", encoding="utf-8") if rank == 0 else None
    stop = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.append(1))
    while True:
        if rank == 0:
            elapsed = before + time.time() - start
            control[0] = min(1.0, elapsed / (60 * args.minutes))
            late = time.time() - start >= 60 * args.stop_after
            control[1] = float(bool(stop) or late or elapsed >= 60 * args.minutes or step >= args.steps)
        barrier.wait()
        progress = float(control[0])
        if control[1]:
            break
        part, groups = sched.take(progress, args.workers * args.accumulate)
        total = float(sum(part.total[g].sum() for g in groups))
        tokens += int(sum(part.length[g].sum() for g in groups))
        for p in (p for _, p in named):
            if p.grad is not None:
                p.grad.zero_()
        if quick:
            quick.refresh()
        for g in groups[rank :: args.workers]:
            ids, weight = (torch.from_numpy(x).to(device, non_blocking=True) for x in part.batch(g))
            if quick:
                each, w = quick.step(ids, weight / total)
            else:
                loss, each, w = net.loss(ids, weight / total, dtype, args.dropout)
                loss.backward()
            if rank == 0 and (args.device == "cpu" or step % 20 == 0):
                w = w * total
                for k, pick in enumerate((w > 0.99, near(w, args.request_weight), near(w, args.text_weight))):
                    seen[2 * k : 2 * k + 2] += float(each[pick].sum()), float(pick.sum())
        barrier.wait()
        step += 1
        scale = rate(progress, step, args)
        opt.step(rank, grads if args.workers > 1 else [{n: p.grad for n, p in named}], step, scale)
        barrier.wait()
        if rank:
            continue
        if step % args.log_every == 0:
            held = held_loss(net, sched.held, device, dtype) if step % args.eval_every == 0 else float("nan")
            mean = [seen[i] / seen[i + 1] if seen[i + 1] else float("nan") for i in (0, 2, 4)]
            elapsed = before + time.time() - start
            fields = [step, f"{elapsed:.0f}", tokens, f"{scale:.4f}", *(f"{x:.4f}" for x in mean), f"{held:.4f}"]
            print(*fields, sep="\t", file=log, flush=True)
            seen[:] = 0
        if time.time() - saved > args.save_every * 60:
            save(net, opt, sched, args, step, tokens, before + time.time() - start)
            saved = time.time()
    if rank == 0:
        save(net, opt, sched, args, step, tokens, before + time.time() - start)


def save(net, opt, sched, args, step, tokens, seconds):
    os.makedirs(args.out, exist_ok=True)
    path = os.path.join(args.out, "checkpoint.pt")
    state = {
        "config": vars(net.c),
        "model": {n: p.data.cpu().clone() for n, p in net.named_parameters()},
        "momentum": {n: t.cpu().clone() for n, t in opt.state.items()},
        "second": {n: t.cpu().clone() for n, t in opt.second.items()},
        "step": step,
        "tokens": tokens,
        "seconds": seconds,
        "schedule": sched.state,
    }
    for part in ("tokenizer", "lexicon"):
        with open(os.path.join(args.pack, part + ".json"), encoding="utf-8") as f:
            state[part] = json.load(f)
    if args.init:
        state["lexicon"] = sorted({*state["lexicon"], *gguf.Reader(args.init).metadata.get("ulm.lexicon", [])})
    torch.save(state, path + ".new")
    os.replace(path + ".new", path)


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--pack", required=True, help="folder that pack.py wrote")
    ap.add_argument("--out", required=True, help="folder for checkpoint.pt and log.tsv; a run there is resumed")
    ap.add_argument("--preset", default="ulm-8m", choices=models.PRESETS)
    ap.add_argument("--init", metavar="GGUF", help="start from the weights of this file instead of random ones")
    ap.add_argument("--minutes", type=float, required=True, help="training time of the whole run, resumed parts included")
    ap.add_argument("--stop-after", type=float, default=1e9, metavar="MINUTES", help="save and stop this call then")
    ap.add_argument("--steps", type=int, default=1 << 40, help="stop earlier, after so many steps")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--workers", type=int, default=None, help="processes (default: one a core on the CPU, 1 on a GPU)")
    ap.add_argument("--micro", type=int, default=2048, help="tokens of a worker's batch")
    ap.add_argument("--accumulate", type=int, default=1, help="batches of a worker in a step")
    ap.add_argument("--lr", type=float, default=0.018, help="Muon's learning rate")
    ap.add_argument("--adam-lr", type=float, default=0.005)
    ap.add_argument("--momentum", type=float, default=0.95)
    ap.add_argument("--decay", type=float, default=0.05, help="weight decay of the matrices")
    ap.add_argument("--warmup", type=int, default=80, help="steps")
    ap.add_argument("--cooldown", type=float, default=0.95, help="share of the time in which the rate falls")
    ap.add_argument("--dropout", type=float, default=0.1, help="share of the values dropped from what each sublayer adds")
    ap.add_argument("--request-weight", type=float, default=0.3)
    ap.add_argument("--text-weight", type=float, default=0.3)
    ap.add_argument("--float32", action="store_true")
    ap.add_argument("--plain", action="store_true", help="on the CPU: torch alone, without fused.c")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--log-every", type=int, default=50)
    ap.add_argument("--eval-every", type=int, default=500)
    ap.add_argument("--save-every", type=float, default=8, help="minutes")
    args = ap.parse_args()
    if args.workers is None:
        args.workers = 1 if args.device == "cuda" else os.cpu_count()
    return args


def main():
    args = arguments()
    torch.set_num_threads(1)
    os.makedirs(args.out, exist_ok=True)
    sched = batches.Schedule(args.pack, args.request_weight, args.text_weight, args.seed, args.micro)
    with open(os.path.join(args.pack, "tokenizer.json"), encoding="utf-8") as f:
        vocab = len(json.load(f)["tokens"])
    config = models.Config(vocab=vocab, **models.PRESETS[args.preset])
    net = models.Model(config).init(args.seed)
    resume = {"step": 0, "tokens": 0, "seconds": 0.0, "schedule": {}}
    path = os.path.join(args.out, "checkpoint.pt")
    old = torch.load(path, map_location="cpu") if os.path.exists(path) else None
    if old:
        resume.update({k: old[k] for k in resume})
        net.load_state_dict(old["model"])
    elif args.init:
        resume["tokens"] = gguf.Reader(args.init).metadata.get("ulm.tokens_seen", 0)
        net.load_state_dict({n: torch.from_numpy(a) for n, a in gguf.load_model(args.init, vars(config)).items()})
    net.to(args.device)
    share = args.workers > 1
    opt = Optimizer(net, args, args.workers, share)
    if old:
        for mine, theirs in ((opt.state, old["momentum"]), (opt.second, old["second"])):
            for n in mine:
                mine[n].copy_(theirs[n])
    context = mp.get_context("fork")
    barrier, control = context.Barrier(args.workers), torch.zeros(2)
    grads = []
    if share:
        control.share_memory_()
        for p in net.parameters():
            p.data.share_memory_()
        grads = [{n: torch.zeros_like(p.data).share_memory_() for n, p in net.named_parameters()} for _ in range(args.workers)]
    shared = (grads, barrier, control)
    library = fused.library() if args.device == "cpu" and not (args.float32 or args.plain) else None
    print("fused CPU kernels" if library else "plain torch", flush=True)
    others = [
        context.Process(target=worker, args=(r, net, opt, shared, sched, args, resume, library), daemon=True)
        for r in range(1, args.workers)
    ]
    for p in others:
        p.start()
    worker(0, net, opt, shared, sched, args, resume, library)
    for p in others:
        p.join()


if __name__ == "__main__":
    main()
