# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes a small character model three ways on text that is half foreign to it, and draws what
happens: phi of both halves, what is learned, what is lost.

    pip install ./examples/python matplotlib
    python examples/python/example.py --out picture

The model speaks about a village, in English. It is fine-tuned on a text of which half is its own way of
speaking, with three words that are new to it, and half is German. A minute on a laptop; without
matplotlib the numbers are printed and nothing is drawn.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import pathlib
import random

import torch
from torch import Tensor, nn

import idiolect_torch

VILLAGE = {
    "noun": "miller baker boy girl dog horse river mill garden bridge apple bread door tree road".split(),
    "adjective": "old small quiet warm red tired honest young".split(),
    "verb": "sees finds likes follows paints remembers".split(),
    "place": ["by the mill", "near the church", "in the garden", "on the bridge", "behind the house"],
    "form": "the {adjective} {noun} {verb} the {adjective2} {noun2} {place}.",
}
NEW = VILLAGE | {"noun": VILLAGE["noun"] + "anchor lantern sailor".split()}
GERMAN = {
    "noun": "matrose lotse anker hafen wal kompass sturm leuchtturm fisch kapitaen".split(),
    "adjective": "alte kleine stille warme rote muede junge".split(),
    "verb": "sieht findet mag verfolgt malt kennt".split(),
    "place": ["am kai", "beim leuchtturm", "in der kajuete", "auf dem deck", "hinter dem riff"],
    "form": "der {adjective} {noun} {verb} {place} den {adjective2}n {noun2}.",
}
LETTERS = "\n abcdefghijklmnopqrstuvwxyz."  # 0 ends a sentence
LOSSES = ("nll", "dft", "idft")


def sentences(world: dict, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets, the next characters, of `count` sentences; -100 behind the end of each."""
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        words = {k: rng.choice(world[k]) for k in ("adjective", "noun", "verb", "place")}
        words |= {"adjective2": rng.choice(world["adjective"]), "noun2": rng.choice(world["noun"])}
        texts.append("\n" + world["form"].format(**words) + "\n")
    length = max(map(len, texts))
    ids = torch.full((count, length), -100)
    for row, text in zip(ids, texts):
        row[: len(text)] = torch.tensor([LETTERS.index(c) for c in text])
    return ids[:, :-1].clamp(min=0), ids[:, 1:]


class CharModel(nn.Module):
    def __init__(self, width: int = 64):
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), width)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, len(LETTERS))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.recurrent(self.embedding(tokens))[0])


def train(model, data, steps, gate, *, rate, seed, watch=None, every=10):
    """Trains on batches of 24 sentences; `watch` sees the model every so many steps."""
    inputs, targets = data
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    g = torch.Generator().manual_seed(seed)
    for step in range(steps + 1):
        if watch and (step % every == 0 or step == steps):
            watch(step)
        if step == steps:
            break
        rows = torch.randint(len(inputs), (24,), generator=g)
        loss = idiolect_torch.loss(model(inputs[rows]), targets[rows], gate, gradient_in_logits=True)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def quality(model, data) -> tuple[float, float]:
    """NLL in nats a character, and the share of characters that the model would write greedily."""
    logits = model(data[0])
    hits = (logits.argmax(-1) == data[1])[data[1] != -100]
    return idiolect_torch.loss(logits, data[1], "nll").item(), hits.double().mean().item()


@torch.no_grad()
def phi(model, data) -> Tensor:
    """phi of every character, and how each sentence's mean looks."""
    return idiolect_torch.score(model(data[0]), data[1]).phi


def run(steps: int, seed: int) -> dict:
    torch.manual_seed(seed)
    base = CharModel()
    train(base, sentences(VILLAGE, 3000, seed), 8 * steps, "nll", rate=4e-3, seed=seed)
    held_out = {
        "village": sentences(VILLAGE, 200, seed + 1),
        "own": sentences(NEW, 200, seed + 2),
        "foreign": sentences(GERMAN, 200, seed + 3),
    }
    own, foreign = (sentences(world, 400, seed + 4) for world in (NEW, GERMAN))
    width = max(own[0].shape[1], foreign[0].shape[1])
    pad = lambda t, value: nn.functional.pad(t, (0, width - t.shape[1]), value=value)  # noqa: E731
    mixed = tuple(torch.cat([pad(t, v) for t in pair]) for pair, v in zip(zip(own, foreign), (0, -100)))

    out = {"letters": {}, "sentences": {}, "weights": {}, "curves": {}}
    for name in held_out:
        scores = phi(base, held_out[name])
        out["letters"][name] = scores[~scores.isnan()].tolist()
        out["sentences"][name] = scores.nanmean(-1).tolist()
    for gate in LOSSES:
        with torch.no_grad():
            out["weights"][gate] = {
                name: idiolect_torch.loss_with_report(base(data[0]), data[1], gate)[1]["weight"]["mean"]
                for name, data in held_out.items()
            }
        model, curve = copy.deepcopy(base), []
        see = lambda step: curve.append((step, *(quality(model, d) for d in held_out.values())))  # noqa: E731,B023
        train(model, mixed, steps, gate, rate=1e-3, seed=seed, watch=see, every=max(1, steps // 25))
        out["curves"][gate] = curve
    return out


def report(result: dict) -> None:
    means = {name: sum(values) / len(values) for name, values in result["letters"].items()}
    print("before fine-tuning: mean phi of", ", ".join(f"{n} {m:+.2f}" for n, m in means.items()), "nats")
    print(f"{'':14}{'mean weight of':>16}{'NLL, nats a character':>32}{'characters guessed':>32}")
    print(f"{'loss':6}{'steps':>6}{'own':>9}{'foreign':>9}" + 2 * f"{'village':>12}{'own':>10}{'foreign':>10}")
    rows = [("before", result["curves"]["nll"][0], {"own": math.nan, "foreign": math.nan})]
    rows += [(gate, curve[-1], result["weights"][gate]) for gate, curve in result["curves"].items()]
    for name, (step, *pairs), weight in rows:
        line = f"{name:6}{step:6}{weight['own']:9.3f}{weight['foreign']:9.3f}"
        print(line + "".join("{:12.3f}{:10.3f}{:10.3f}".format(*column) for column in zip(*pairs)))


def draw(result: dict, path: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = {"own": "#2f6db3", "foreign": "#c9601f", "nll": "#5d6570", "dft": "#8455a8", "idft": "#1c8a6a"}
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"})
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.5), layout="constrained")

    low, high = -16, 4
    for name, label in (("own", "English, its own grammar"), ("foreign", "German")):
        values = [min(max(v, low), high) for v in result["letters"][name]]
        axes[0].hist(values, 40, range=(low, high), alpha=0.6, color=colours[name], label=label,
                     weights=[1 / len(values)] * len(values))  # fmt: skip
        axes[1].hist(result["sentences"][name], 40, range=(-6, 0.5), alpha=0.6, color=colours[name])
    axes[0].set(title="phi of characters", xlabel="nats, before fine-tuning", ylabel="share", yscale="log")
    axes[0].legend(frameon=False, loc="upper left")
    axes[1].set(title="mean phi of sentences", xlabel="nats a character", ylabel="sentences")

    for gate, curve in result["curves"].items():
        steps, *texts = zip(*curve)
        nll, guessed = ([[pair[i] for pair in text] for text in texts] for i in (0, 1))
        for axis, values in ((axes[2], nll), (axes[3], guessed)):
            for line, style in zip(values, (":", "-", "--")):
                axis.plot(steps, line, color=colours[gate], linestyle=style)
    for gate in result["curves"]:
        axes[2].plot([], [], color=colours[gate], label=gate)
    for name, style in (("what it knew", ":"), ("new, English", "-"), ("new, German", "--")):
        axes[3].plot([], [], color="black", linestyle=style, label=name)
    axes[2].set(title="NLL", xlabel="steps", ylabel="nats a character", ylim=(0, None))
    axes[3].set(title="characters guessed", xlabel="steps", ylabel="share", ylim=(0, 1))
    for axis in axes[2:]:
        axis.legend(frameon=False)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=110)
    print("drawn:", path.with_suffix(".svg"), "and .png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120, help="of fine-tuning; eight times as many before it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("idiolect_example"), help="without its ending")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the model is small
    result = run(arguments.steps, arguments.seed)
    report(result)
    arguments.out.with_suffix(".json").write_text(json.dumps(result["curves"]))
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("no picture: it needs matplotlib")
    else:
        draw(result, arguments.out)


if __name__ == "__main__":
    main()
