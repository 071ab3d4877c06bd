# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""The losses written in torch's own operations, under autograd, to compare with."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def statistics(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log p of the targets, and the rows' log p and entropy. Logits rows x V, every target valid."""
    log_p = logits.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    return log_p.gather(-1, targets[:, None].long())[:, 0], log_p, entropy


def weight(name: str, o: dict, l: Tensor, log_p: Tensor, entropy: Tensor, external: Tensor) -> Tensor:
    """w by the gate's formula, with a graph."""
    p, phi = l.exp(), l + entropy
    if name == "nll":
        return torch.ones_like(l)
    if name == "dft":
        return p
    if name == "idft":
        beta, strength = o.get("beta", 1.0), o.get("strength", 1.0)
        if o.get("gamma_form") == "clamp_phi":
            bound = o.get("bound", 5.0)
            gamma = (-phi.clamp(-bound, bound) / beta).exp()
        else:
            gamma = (-phi / beta).exp().clamp(o.get("gamma_min", 0.1), o.get("gamma_max", 2.0))
        return p ** (1 + strength * (gamma - 1))
    if name == "power":
        return torch.where(p >= o.get("theta", 0.0), p ** o.get("q", 1.0), 0.0)
    if name == "deft":
        return p ** log_p.exp().square().sum(-1)
    if name == "eaft":
        return (entropy / o.get("h_norm", math.log(log_p.shape[-1]))) ** o.get("alpha", 1.0)
    if name == "prob_threshold":
        return (p >= o.get("theta", 0.1)).to(l.dtype)
    if name == "phi_threshold":
        return (phi >= o.get("theta", -5.0)).to(l.dtype)
    if name == "talr":
        return (p ** (1 / o.get("t", 1.0))).clamp(min=o.get("floor", 0.01))
    if name == "chord":
        return p * (1 - p)
    if name == "reverse":
        return (1 - p) ** o.get("gamma", 1.0)
    if name == "endorsement":
        e = phi.clamp(max=0).exp()
        return torch.where(external >= 0, e, 1 - e)
    raise KeyError(name)


def loss(
    logits: Tensor,
    targets: Tensor,
    name: str,
    parameters: dict | None = None,
    *,
    weights: Tensor | None = None,
    reduction: str = "mean",
    tokens: float = 0,
    temperature: float = 1.0,
    through_weight: bool = False,
    protect: tuple[int, ...] = (),
    protect_weight: float = 1.0,
    ignore_index: int = -100,
) -> Tensor:
    """The loss of logits (..., V) and targets (...)."""
    rows, y = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    valid = y != ignore_index
    l, log_p, entropy = statistics(rows / temperature, torch.where(valid, y, 0))
    external = torch.ones_like(l) if weights is None else weights.expand(targets.shape).reshape(-1).to(l.dtype)
    w = weight(name, parameters or {}, l, log_p, entropy, external)
    for token in protect:
        w = torch.where(y == token, protect_weight, w)
    each = torch.where(valid, external * (w if through_weight else w.detach()) * -l, 0.0)
    if reduction == "none":
        return each.view(targets.shape)
    if reduction == "sequence_mean":
        each, count = each.view(-1, targets.shape[-1]), valid.view(-1, targets.shape[-1]).sum(-1)
        return (each.sum(-1)[count > 0] / count[count > 0]).mean()
    return each.sum() / {"sum": 1.0, "mean": valid.sum().clamp(min=1), "mean_over": tokens}[reduction]
