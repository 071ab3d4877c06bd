# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""Time and peak memory of a loss with its gradient: idiolect_torch, and torch's own operations.

    python examples/python/bench.py            # a minute, on a quiet machine
    python examples/python/bench.py --quick    # a small shape and one candidate's figures, to see that it runs

Every candidate gets the same logits. One forward and backward of each after the other, again and again:
what else the machine does meets all of them. Medians; the processor's time, of all threads, also means
something on a busy machine. glibc keeps freed memory meanwhile, so that nobody pays for new pages.
Memory is the growth of a process's peak (VmHWM, Linux) over its inputs, each candidate in a process of
its own.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import torch

import idiolect_torch


def idft_of_authors(z, y):
    """The form that the paper's authors published."""
    epsilon = 1e-10
    p = torch.softmax(z, -1)
    entropy = -(p * torch.log(p + epsilon)).sum(-1)
    log_prob = -torch.nn.functional.cross_entropy(z, y, reduction="none")
    gamma = torch.exp(-(log_prob + entropy)).clamp(0.1, 2.0)
    p_y = p.gather(1, y.unsqueeze(-1)).squeeze(-1).clamp(epsilon, 1.0)
    return (-(p_y ** gamma.detach()) * torch.log(p_y)).mean()


def idft_lean(z, y):
    """The least that torch's operations need."""
    log_p = torch.log_softmax(z, -1)
    log_prob = log_p.gather(1, y.unsqueeze(-1)).squeeze(-1)
    fixed, l = log_p.detach(), log_prob.detach()
    entropy = -(fixed.exp() * fixed).sum(-1)
    gamma = torch.exp(-(l + entropy)).clamp(0.1, 2.0)
    return -(torch.exp(gamma * l) * log_prob).mean()


KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}

CANDIDATES = {
    "idiolect_torch, idft": lambda z, y: idiolect_torch.loss(z, y, "idft"),
    "idiolect_torch, idft in the logits": lambda z, y: idiolect_torch.loss(z, y, "idft", gradient_in_logits=True),
    "idiolect_torch, nll": lambda z, y: idiolect_torch.loss(z, y, "nll"),
    "torch, cross_entropy": torch.nn.functional.cross_entropy,
    "torch, idft as published": idft_of_authors,
    "torch, idft at its leanest": idft_lean,
}


class Produced(torch.autograd.Function):
    """Logits as a model's last layer gives them: not a leaf, and its backward costs nothing."""

    @staticmethod
    def forward(ctx, source, logits):
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx, gradient):
        ctx.gradient = gradient
        return gradient.view(-1)[0].clone(), None


def inputs(rows, columns, seed=0):
    """Logits under which targets have probabilities from near 0 to near 1."""
    g = torch.Generator().manual_seed(seed)
    z, y = torch.randn(rows, columns, generator=g), torch.randint(columns, (rows,), generator=g)
    return z.scatter_(1, y[:, None], 4 + 12 * torch.rand(rows, 1, generator=g)), y


def once(candidate, z, y):
    logits = Produced.apply(torch.zeros((), requires_grad=True), z)
    start, used = time.perf_counter(), time.process_time()
    value = candidate(logits, y)
    value.backward()
    return (time.perf_counter() - start, time.process_time() - used), value.item()


def peak() -> int:
    """VmHWM in bytes."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    return 0


def memory(name, rows, columns) -> int:
    """In this process, which is new: growth of the peak over the inputs."""
    once(CANDIDATES[name], *inputs(4, 64))
    z, y = inputs(rows, columns)
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = peak()
    once(CANDIDATES[name], z, y)
    return peak() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=0, help="torch's, where 0")
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.memory:
        name, rows, columns = arguments.memory
        print(memory(name, int(rows), int(columns)))
        return

    if not KEEP_MEMORY.keys() <= os.environ.keys():  # read where a process begins
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP_MEMORY)

    usual = {k: v for k, v in os.environ.items() if k not in KEEP_MEMORY}
    shapes, repeat = ([(8, 1000)], 3) if arguments.quick else ([(256, 32000), (64, 151936)], arguments.repeat)
    results = []
    for rows, columns in shapes:
        z, y = inputs(rows, columns)
        times = {name: [] for name in CANDIDATES}
        values = {}
        for turn in range(repeat + 1):  # the first is not counted
            for name, candidate in CANDIDATES.items():
                seconds, values[name] = once(candidate, z.clone(), y)
                if turn:
                    times[name].append(seconds)
        for name in CANDIDATES:  # a figure of something else would be worthless
            same = "torch, cross_entropy" if "nll" in name or "cross" in name else "torch, idft at its leanest"
            assert abs(values[name] - values[same]) < 1e-3 * values[same], (name, values)
        print(f"\n{rows} x {columns} fp32, {torch.get_num_threads()} threads, torch {torch.__version__}")
        columns_of_figures = f"{'ms, median':>12}{'least':>10}{'of CPU':>10}{'peak, MB':>12}{'in logits':>12}"
        print(f"{'forward and backward':36}" + columns_of_figures)
        size = z.numel() * z.element_size()
        for name, seconds in list(times.items())[: 1 if arguments.quick else None]:
            command = [sys.executable, __file__, "--memory", name, str(rows), str(columns)]
            grown = int(subprocess.run(command, check=True, capture_output=True, text=True, env=usual).stdout)
            wall, cpu = ([1000 * s for s in both] for both in zip(*seconds))
            middle, least, used = statistics.median(wall), min(wall), statistics.median(cpu)
            print(f"{name:36}{middle:12.2f}{least:10.2f}{used:10.2f}{grown / 1e6:12.1f}{grown / size:12.2f}")
            figures = {"median_ms": middle, "least_ms": least, "cpu_ms": used, "peak_bytes": grown}
            results.append({"shape": [rows, columns], "threads": torch.get_num_threads(), "name": name} | figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
