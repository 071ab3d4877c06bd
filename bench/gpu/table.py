# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

"""Writes a page of docs/results from what was measured on a GPU.

    python3 table.py <folder of results> <prefix of the page>

reads kernels.json (bench_gpu), peers.json (peers.py), stages.json (run.sh: what was run, versions, the
command) from the folder, any of which may be missing, and writes <prefix>.md and <prefix>.json.
"""

import json
import sys
from pathlib import Path

# What is asked of each pass: at most so many times the time that its limit takes, at shapes of bf16.
ASKED = {"statistics": 1.15, "gradient out of place": 1.15}
ASKED_SHAPES = [(8192, 131072), (8192, 151936)]
PASSES = ["statistics", "scores", "gradient out of place", "gradient in place"]
# What of ours does the work of a peer, and more.
OURS = {"statistics": "statistics", "cross_entropy": "gradient out of place", "idft": "gradient out of place"}


def number(x):
    if x is None:
        return "-"
    return f"{x:.0f}" if abs(x) >= 999.5 else f"{x:.3g}"


def row(cells):
    return "| " + " | ".join(str(c) for c in cells) + " |"


def table(head, rows):
    return "\n".join([row(head), "|---" * len(head) + "|"] + [row(r) for r in rows]) + "\n"


def read(path):
    return json.loads(path.read_text()) if path.exists() else None


class Figures:
    """Of bench_gpu, by name and batch. A batch is (scalar, rows, vocab)."""

    def __init__(self, kernels):
        self.all = kernels["figures"] if kernels else []
        self.at = {(f["name"], self.batch(f)): f for f in self.all}

    @staticmethod
    def batch(f):
        return (f["scalar"], f["rows"], f["vocab"])

    def ms(self, name, batch):
        # The faster of two ways to copy is the limit.
        names = [name, "limit copy, of the runtime"] if name == "limit copy" else [name]
        times = [self.at[(n, batch)]["ms"] for n in names if (n, batch) in self.at]
        return min(times) if times else None

    def batches(self):
        return list(dict.fromkeys(self.batch(f) for f in self.all if f["name"] == "limit read"))


def shape_of(batch):
    return f"{batch[1]} x {batch[2]} {batch[0]}"


def asked(figures):
    rows = []
    for name, most in ASKED.items():
        for rows_, vocab in ASKED_SHAPES:
            batch = ("bf16", rows_, vocab)
            f = figures.at.get((name, batch))
            if not f:
                rows.append([name, shape_of(batch), f"{most:.2f}", "-", "not measured"])
                continue
            times = f["ms"] / figures.ms(f["limit"], batch)
            verdict = "yes" if times <= most else f"**missed by {100 * (times / most - 1):.0f}%**"
            rows.append([f"{name}, times the {f['limit']}", shape_of(batch), f"{most:.2f}", f"{times:.2f}", verdict])
    return "## Asked and reached\n\n" + table(["what", "batch", "asked", "reached", ""], rows)


def limits(figures):
    rows = []
    for batch in figures.batches():
        cells = [shape_of(batch)]
        for name in ["limit read", "limit copy", "limit rewrite"]:
            ms = figures.ms(name, batch)
            moved = figures.at[(name, batch)]["bytes"] if (name, batch) in figures.at else None
            cells += [number(ms), number(moved / ms * 1e-6) if ms else "-"]
        rows.append(cells)
    return ("## What the memory allows\n\nThe same bytes moved without arithmetic; the copy is the faster of a kernel "
            "and the runtime's.\n\n" + table(["batch", "read, ms", "GB/s", "copy, ms", "GB/s", "rewrite, ms", "GB/s"], rows))


def passes(figures):
    rows = []
    for batch in figures.batches():
        for name in PASSES:
            f = figures.at.get((name, batch))
            if not f:
                continue
            limit = figures.ms(f["limit"], batch)
            spread = (f["quartiles"][1] - f["quartiles"][0]) / f["ms"]
            rows.append([shape_of(batch), name, number(f["ms"]), f"{100 * spread:.1f}%", number(f["bytes"] / f["ms"] * 1e-6),
                         f["limit"].removeprefix("limit "), number(limit), f"{limit / f['ms']:.2f}" if limit else "-"])
    return ("## The passes\n\n`statistics` are log p and H with the IDFT loss and its report, `scores` also the "
            "varentropy, a gradient is\nIDFT's. A share is the limit's time over ours; the spread is the distance of "
            "the quartiles.\n\n"
            + table(["batch", "pass", "ms", "spread", "GB/s", "limit", "ms", "share"], rows))


def hinted(figures):
    found = [f for f in figures.all if f["name"].startswith("hinted step")]
    if not found:
        return ""
    rows = [[f["name"].removeprefix("hinted step, "), f["vocab"], number(1e3 * f["ms"]),
             number(1e3 * f["ms"] / f["rows"]), number(f["bytes"] / f["ms"] * 1e-6)] for f in found]
    return ("## The hinted step\n\nBoth rows' statistics, lambda, mixture, top-p 0.95, temperature 0.3, the draw; "
            "bf16.\n\n" + table(["texts at once", "V", "microseconds", "a text", "GB/s of both rows"], rows))


def peers(figures, measured):
    if not measured:
        return ""
    rows = []
    for p in measured["peers"]:
        batch = (p["scalar"], p["rows"], p["vocab"])
        ours = figures.ms(OURS[p["computes"]], batch)
        rows.append([p["name"], shape_of(batch), number(p["ms"]), f"{p['error']:.1e}", OURS[p["computes"]], number(ours),
                     f"{p['ms'] / ours:.1f}x" if ours else "-"])
    text = ("## Peers\n\nForward and backward, but for log p and H; in a process of their own, right after ours. Ours "
            "beside them does what they do\nand more: fp32 statistics of every token, a weighted loss, its report. "
            "The error is against fp64.\n\n"
            + table(["peer", "batch", "ms", "error", "ours", "ms", "times"], rows))
    if measured["absent"]:
        text += "\nNot measured:\n\n" + "".join(f"- {a['name']}: {a['why']}\n" for a in measured["absent"])
    return text


def page(kernels, measured, stages):
    figures = Figures(kernels)
    device = kernels["device"] if kernels else {}
    about = [f"Machine: {device.get('name', 'unknown')}"
             + (f" (sm_{device['capability'].replace('.', '')}, {device['multiprocessors']} multiprocessors, "
                f"{device['l2_bytes'] / 2**20:.0f} MiB of L2, {device['memory_bytes'] / 2**30:.0f} GiB)" if device else "")]
    about += [f"{k} {v}" for k, v in stages.get("versions", {}).items()]
    if measured:
        about += [f"{k} {measured[k]}" for k in ("torch", "triton") if k in measured]
    text = f"# GPU, {stages.get('date', 'undated')}: {device.get('name', 'no kernels were measured')}\n\n" + ", ".join(about) + ".\n\n"
    text += f"    {stages.get('command', 'bash bench/gpu/run.sh')}\n\n"
    text += ("Medians of graph replays between events; random logits in buffers that the cache does not hold; every "
             "result compared\nwith fp64 before it is timed. Take ratios from one page, never times from two.\n\n")
    parts = [asked(figures), limits(figures), passes(figures), hinted(figures)] if kernels else []
    parts += [peers(figures, measured)]
    if stages.get("stages"):
        parts.append("## What was run\n\n" + table(["stage", "seconds", "outcome"],
                                                  [[s["name"], s["seconds"], s["outcome"]] for s in stages["stages"]]))
    return text + "\n".join(p for p in parts if p)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, prefix = Path(sys.argv[1]), sys.argv[2]
    kernels, measured, stages = (read(folder / f"{name}.json") for name in ("kernels", "peers", "stages"))
    Path(prefix + ".md").write_text(page(kernels, measured, stages or {}))
    Path(prefix + ".json").write_text(json.dumps({"run": stages, "kernels": kernels, "peers": measured}, indent=1) + "\n")


if __name__ == "__main__":
    main()
