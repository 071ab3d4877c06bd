# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

"""What else computes these things on a GPU, as one JSON file.

    python3 peers.py <out.json> [--sources <folder>] [--seconds <budget>] [--device cpu] [--tiny]

PyTorch itself: cross-entropy, IDFT in the operations of its authors' trainer, and log p with H, each
eager and compiled. Beside them, where their sources lie in <folder>/<name>, other projects' kernels:

    liger/    https://github.com/linkedin/Liger-Kernel    (its src/ or the whole)
    trl/      https://github.com/huggingface/trl           (kernels/torch-ext/trl_losses, or the whole)
    quack/    https://github.com/Dao-AILab/quack           (needs nvidia-cutlass-dsl)

What cannot be run is listed with the reason. Every peer's result is compared with fp64 before it is
timed. A time is the median of single calls between two events; what is timed has the logits in
memory and nothing of theirs in the cache. Gradients are dropped before each call, as trainers do.
"""

import argparse
import importlib
import inspect
import json
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

SHAPES = [(8192, 131072, "bf16"), (8192, 151936, "bf16"), (4096, 32000, "bf16"), (65536, 512, "bf16"),
          (4096, 32000, "fp32")]
TINY = [(24, 1000, "bf16"), (24, 1000, "fp32")]
TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def cross_entropy(z, y):
    return F.cross_entropy(z.float(), y)


def idft(z, y):
    """IDFT as its authors' trainer writes it: softmax of fp32 logits, then one operation after another."""
    eps = 1e-10
    p = torch.softmax(z.float(), dim=-1)
    entropy = -(p * torch.log(p + eps)).sum(-1)
    log_prob = -F.cross_entropy(z.float(), y, reduction="none")
    gamma = torch.clamp(torch.exp(-(log_prob + entropy)), 0.1, 2.0)
    p_y = torch.clamp(p.gather(1, y.unsqueeze(-1)).squeeze(-1), eps, 1.0)
    return (-(p_y ** gamma.detach()) * torch.log(p_y)).mean()


def log_prob_and_entropy(z, y):
    log_p = torch.log_softmax(z.float(), dim=-1)
    return log_p.gather(1, y.unsqueeze(-1)).squeeze(-1), -(log_p.exp() * log_p).sum(-1)


def expected(z, y, rows=256):
    """Of all that is computed here, in fp64: some rows at a time, as their copies are large."""
    log_probs, entropies = [], []
    for part, targets in zip(z.split(rows), y.split(rows)):
        log_p = torch.log_softmax(part.double(), dim=-1)
        log_probs.append(log_p.gather(1, targets.unsqueeze(-1)).squeeze(-1))
        entropies.append(-(log_p.exp() * log_p).sum(-1))
    log_prob, entropy = torch.cat(log_probs), torch.cat(entropies)
    gamma = torch.clamp(torch.exp(-(log_prob + entropy)), 0.1, 2.0)
    return {"statistics": (log_prob, entropy), "cross_entropy": (-log_prob.mean(),),
            "idft": (-(torch.exp(gamma * log_prob) * log_prob).mean(),)}


def compiled(f):
    return torch.compile(f, dynamic=False)  # for each shape by itself, as fast as it gets


def liger():
    function = importlib.import_module("liger_kernel.ops.cross_entropy").LigerCrossEntropyFunction
    # Its arguments have changed over time: everything after the targets has a default in some versions
    # only, and the rest of the outputs are extras.
    names = list(inspect.signature(function.forward).parameters)[1:]
    defaults = {"weight": None, "ignore_index": -100, "lse_square_scale": 0.0, "label_smoothing": 0.0,
                "reduction": "mean", "softcap": None, "return_z_loss": False, "return_token_accuracy": False,
                "return_predicted_tokens": False}

    def call(z, y):
        out = function.apply(z, y, *[defaults[name] for name in names[2:]])
        return out[0] if isinstance(out, tuple) else out
    return call


def trl():
    return importlib.import_module("trl_losses.logprob_entropy").selective_log_softmax_and_entropy


def quack():
    function = importlib.import_module("quack.cross_entropy").cross_entropy
    return lambda z, y: function(z, y).float().mean()


# name, what it computes, how to make it, the folders that its Python modules may be in
PEERS = [
    ("torch cross-entropy", "cross_entropy", lambda: cross_entropy, []),
    ("torch cross-entropy, compiled", "cross_entropy", lambda: compiled(cross_entropy), []),
    ("torch IDFT, authors' form", "idft", lambda: idft, []),
    ("torch IDFT, authors' form, compiled", "idft", lambda: compiled(idft), []),
    ("torch log p and H", "statistics", lambda: log_prob_and_entropy, []),
    ("torch log p and H, compiled", "statistics", lambda: compiled(log_prob_and_entropy), []),
    ("Liger cross-entropy", "cross_entropy", liger, ["liger/src", "liger"]),
    ("TRL log p and H", "statistics", trl, ["trl/kernels/torch-ext", "trl/torch-ext", "trl"]),
    ("QuACK cross-entropy", "cross_entropy", quack, ["quack"]),
]


class Clock:
    """Times of single calls, in ms."""

    def __init__(self, device):
        self.cuda = device.type == "cuda"

    def times(self, prepare, work, seconds, most=50):
        found, start = [], time.monotonic()
        while len(found) < 5 or (len(found) < most and time.monotonic() - start < seconds):
            given = prepare()
            if self.cuda:
                begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                begin.record()
                work(given)
                end.record()
                end.synchronize()
                found.append(begin.elapsed_time(end))
            else:
                begin = time.perf_counter()
                work(given)
                found.append(1e3 * (time.perf_counter() - begin))
        return found


def error_of(got, want):
    """In units of max(1, |value|). Raises where it is more than a 16-bit result explains."""
    got = got if isinstance(got, tuple) else (got,)
    worst = max(((a.detach().double() - b).abs() / b.abs().clamp(min=1)).max().item()
                for a, b in zip(got, want))
    if not worst < 2e-2:
        raise RuntimeError(f"wrong result: off by {worst:.2g}")
    return worst


def measure(name, kind, call, z, fresh, y, want, clock, seconds):
    destroys = name.startswith("Liger")  # its gradient takes the logits' place

    def prepare():
        if destroys:
            fresh.copy_(z)
        given = fresh if destroys else z
        return given if kind == "statistics" else given.detach().requires_grad_(True)

    def work(given):
        if kind == "statistics":
            with torch.no_grad():
                return call(given, y)
        loss = call(given, y)
        loss.backward()
        return loss

    error = error_of(work(prepare()), want)  # also: compilation, kernels, the allocator's memory
    work(prepare())
    times = clock.times(prepare, work, seconds)
    quarters = statistics.quantiles(times, n=4)
    return {"ms": statistics.median(times), "quartiles": [quarters[0], quarters[2]], "calls": len(times),
            "error": error}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sources", type=Path, default=Path(".gpu/peers"))
    parser.add_argument("--seconds", type=float, default=150, help="time for everything")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small shapes: to try the script, not to quote")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("peers.py: PyTorch sees no CUDA device")

    start = time.monotonic()
    report = {"torch": torch.__version__, "peers": [], "absent": []}
    calls = []
    for name, kind, make, folders in PEERS:
        try:
            found = [f for f in folders if (options.sources / f).is_dir()]
            if folders and not found:
                raise RuntimeError(f"its sources are not in {folders[-1]}/")
            sys.path[:0] = [str((options.sources / f).resolve()) for f in found]
            calls.append((name, kind, make()))
        except Exception as e:  # a peer that does not load is a line of the page, not a failure
            report["absent"].append({"name": name, "why": f"{type(e).__name__}: {e}".splitlines()[0]})

    clock = Clock(device)
    try:
        import triton
        report["triton"] = triton.__version__
    except ImportError:
        pass
    for rows, vocab, scalar in TINY if options.tiny else SHAPES:
        torch.manual_seed(1)
        z = torch.empty(rows, vocab, dtype=TYPES[scalar], device=device).normal_(0, 2.5)
        fresh = torch.empty_like(z)
        y = torch.randint(0, vocab, (rows,), device=device)
        want = expected(z, y)
        for name, kind, call in list(calls):
            entry = {"name": name, "computes": kind, "rows": rows, "vocab": vocab, "scalar": scalar}
            if time.monotonic() - start > options.seconds:
                report["absent"].append({"name": f"{name}, {rows} x {vocab} {scalar}", "why": "no time was left"})
                continue
            try:
                report["peers"].append(entry | measure(name, kind, call, z, fresh, y, want[kind], clock,
                                                         options.seconds / 100))
            except Exception as e:
                first = (str(e).splitlines() or [""])[0]
                report["absent"].append({"name": f"{name}, {rows} x {vocab} {scalar}",
                                         "why": f"{type(e).__name__}: {first}"})
            finally:
                if device.type == "cuda":
                    torch.cuda.empty_cache()
            options.out.write_text(json.dumps(report, indent=1))  # what was reached, if the time runs out
        del z, fresh
    options.out.write_text(json.dumps(report, indent=1))
    print(f"peers: {len(report['peers'])} figures, {len(report['absent'])} absent, "
          f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
