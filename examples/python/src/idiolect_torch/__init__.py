# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""Token losses and centred log-likelihood for PyTorch, on the CPU.

    loss = idiolect_torch.loss(logits, targets, gate="idft", beta=1.0)   # logits (..., V), targets (...)
    loss.backward()
    scores = idiolect_torch.score(logits, targets)                       # scores.phi near 0: its own voice

float32, float64, float16 and bfloat16 logits; int32 or int64 targets. Row i predicts targets[i]: the
shift is yours. Errors are ValueError or TypeError for what is wrong at once, RuntimeError with the
library's words for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import ops
from .gates import ALIASES, GATES, numbers

__all__ = ["ALIASES", "GATES", "Scores", "loss", "loss_with_report", "score"]


class Scores(NamedTuple):
    """One number a token, in the targets' shape; NaN where the target is ignored. Nats."""

    log_prob: Tensor  #: log p of the target
    entropy: Tensor  #: H(p)
    varentropy: Tensor  #: Var[log p], nats^2
    phi: Tensor  #: centred log-likelihood, log_prob + entropy


# 0: the library asks torch itself, which it can since 2.10.
_ASK_TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 10)


@torch.compiler.assume_constant_result
def _threads() -> int:
    return 0 if _ASK_TORCH else torch.get_num_threads()


def _check(logits: Tensor, targets: Tensor) -> None:
    if logits.dim() == 0:
        raise ValueError("idiolect: logits: a vocabulary is expected as the last dimension")
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"idiolect: targets: shape {tuple(targets.shape)} for logits of {tuple(logits.shape)}; "
            f"expected {tuple(logits.shape[:-1])}, one target a row"
        )
    if targets.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"idiolect: targets: int64 or int32 expected; found {targets.dtype}")
    for name, tensor in (("logits", logits), ("targets", targets)):
        if tensor.device.type not in ("cpu", "meta"):
            raise ValueError(f"idiolect: {name}: a CPU tensor expected; found {tensor.device}")


def _number(name: str, names: Sequence[str], found: str) -> int:
    if found not in names:
        raise ValueError(f"idiolect: {name}: expected one of {', '.join(names)}; found {found!r}")
    return names.index(found)


def _rows(logits: Tensor) -> Tensor:
    """Two dimensions; a view wherever there is one."""
    return logits.reshape(logits.shape[:-1].numel(), logits.shape[-1])


def _token_list(tokens: Sequence[int]) -> Tensor | None:
    return torch.tensor(list(tokens), dtype=torch.int64) if len(tokens) else None


def _in_logits(logits: Tensor, options: tuple) -> tuple[Tensor, Tensor]:
    tracked = logits.requires_grad and torch.is_grad_enabled()
    if tracked and logits.is_leaf:
        raise ValueError(
            "idiolect: gradient_in_logits: a leaf that requires grad would be lost; "
            "use logits that a model computed"
        )
    try:
        rows = logits.detach().view(logits.shape[:-1].numel(), logits.shape[-1])
    except RuntimeError:
        raise ValueError(
            "idiolect: gradient_in_logits: the rows are not evenly apart in memory, and a copy cannot be the logits"
        ) from None
    if tracked:
        return ops.LossInLogits.apply(logits, rows, *options)
    return torch.ops.idiolect.loss_(rows, *options)


# The overwritten logits are for eager code: torch.compile breaks its graph here.
_in_logits = torch.compiler.disable(_in_logits)


def _call(
    logits: Tensor,
    targets: Tensor,
    gate: str | Callable[[Scores], Tensor] = "idft",
    *,
    weights: Tensor | None = None,
    reduction: str = "mean",
    tokens: float | None = None,
    sequence_offsets: Tensor | None = None,
    ignore_index: int = -100,
    temperature: float = 1.0,
    through_weight: bool = False,
    protect: Sequence[int] = (),
    protect_weight: float = 1.0,
    end_tokens: Sequence[int] = (),
    non_finite: str = "propagate",
    gradient_in_logits: bool = False,
    **parameters: Any,
) -> tuple[Tensor, Tensor]:
    _check(logits, targets)
    how = _number("reduction", ops.REDUCTIONS, reduction)
    if (reduction == "mean_over") != (tokens is not None):
        raise ValueError("idiolect: tokens: goes with reduction='mean_over', and that needs it")
    if weights is not None:
        if weights.requires_grad:
            raise ValueError("idiolect: weights: they get no gradient; detach them, or weight reduction='none'")
        weights = weights.to(torch.float32).expand(targets.shape)
    if callable(gate):
        if parameters or through_weight:
            raise TypeError("idiolect: gate: a function has no parameters of ours, and its weight stays constant")
        own = gate(score(logits, targets, temperature, ignore_index)).detach().to(torch.float32)
        own = torch.where(targets == ignore_index, torch.zeros_like(own), own)
        weights = own if weights is None else own * weights
        gate = "nll"
    number, values = numbers(gate, parameters, logits.shape[-1])
    if reduction == "sequence_mean" and sequence_offsets is None:
        if targets.dim() < 2:
            raise ValueError("idiolect: sequence_offsets: sequence_mean needs them, or targets of two dimensions")
        length = targets.shape[-1]
        count = targets.numel() // length if length else 0
        sequence_offsets = torch.arange(count + 1, dtype=torch.int64) * length
    options = (
        targets.reshape(-1),
        None if weights is None else weights.reshape(-1),
        sequence_offsets,
        number,
        torch.tensor(values, dtype=torch.float64),
        through_weight,
        _token_list(protect),
        float(protect_weight),
        _token_list(end_tokens),
        how,
        float(tokens or 0),
        ignore_index,
        float(temperature),
        _number("non_finite", ops.NON_FINITE, non_finite),
        _threads(),
    )
    if gradient_in_logits:
        value, report = _in_logits(logits, options)
    elif logits.requires_grad and torch.is_grad_enabled():
        value, report, _ = torch.ops.idiolect.loss(_rows(logits), *options)
    else:
        value, report = torch.ops.idiolect.loss_value(_rows(logits), *options)
    return (value.view(targets.shape) if reduction == "none" else value), report


def loss(logits: Tensor, targets: Tensor, gate: str | Callable[[Scores], Tensor] = "idft", **options: Any) -> Tensor:
    """The loss of `targets` (any leading shape) under `logits` (that shape, and V), as autograd wants
    it: one number, float64 for float64 logits and float32 otherwise; with reduction="none" one a token.

    gate: a name of GATES, its parameters as keywords (beta=1.0 for "idft"), or a function from Scores
    to weights, which costs a second pass over the logits.

    weights: multiplied with each token's loss, broadcast to the targets, without a gradient.
    reduction: "mean" over valid tokens, "sum", "none", "mean_over" `tokens` (those of the whole
        optimiser step), "sequence_mean" over the last dimension of the targets or `sequence_offsets`.
    ignore_index: the target of rows that do not count. With none that does, the loss is 0.
    temperature: the logits are divided by it.
    through_weight: differentiates the weight too; rarely what you want.
    protect, protect_weight: tokens that get this weight whatever the gate says.
    non_finite: "propagate" NaN, "skip" such rows, or raise an "error".
    gradient_in_logits: the logits' memory takes the gradient: nothing of their size is allocated, one
        backward is possible, and the logits cannot be read any more.

    Without gradients wanted (no_grad, or logits that require none), none is computed.
    """
    return _call(logits, targets, gate, **options)[0]


def loss_with_report(
    logits: Tensor, targets: Tensor, gate: str | Callable[[Scores], Tensor] = "idft", **options: Any
) -> tuple[Tensor, dict[str, Any]]:
    """As `loss`, and the report: the ungated mean_nll, counts, and what phi, the weights and the
    probability of `end_tokens` are over the tokens, with histograms of the first two."""
    value, report = _call(logits, targets, gate, **options)
    numbers = iter(report.tolist())
    take = lambda: next(numbers)  # noqa: E731
    out: dict[str, Any] = {"loss": take(), "mean_nll": take(), "valid": int(take()), "non_finite": int(take())}
    for name in ("phi", "weight", "end_prob"):
        summary = {"count": int(take()), "nan_count": int(take())}
        out[name] = summary | {key: take() for key in ("mean", "variance", "min", "max")}
    for name in ("phi", "weight"):
        histogram = {"low": take(), "high": take(), "below": int(take()), "above": int(take())}
        out[name]["histogram"] = histogram | {"counts": [int(take()) for _ in range(ops.BINS)]}
    return value, out


def score(logits: Tensor, targets: Tensor, temperature: float = 1.0, ignore_index: int = -100) -> Scores:
    """log p, entropy, varentropy and phi of every target. No gradient."""
    _check(logits, targets)
    columns = torch.ops.idiolect.score(
        _rows(logits.detach()), targets.reshape(-1), ignore_index, float(temperature), _threads()
    )
    return Scores(*(column.view(targets.shape) for column in columns))
