# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""Loads the operators and tells torch what it asks of them: shapes without data, and autograd.

    torch.ops.idiolect.loss        loss, report and gradient, which backward scales
    torch.ops.idiolect.loss_value  loss and report
    torch.ops.idiolect.loss_       loss and report; the gradient takes the logits' place
    torch.ops.idiolect.score       log_prob, entropy, varentropy, phi

They take rows x vocabulary logits and numbers for names; `idiolect_torch.loss` and `score` are what
to call.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.library import register_autograd, register_fake

torch.ops.load_library(Path(__file__).with_name("_ops.abi3.so"))

#: reduction and non_finite by number, as in idiolect/loss/options.hpp.
REDUCTIONS = ("sum", "mean", "mean_over", "sequence_mean", "none")
NON_FINITE = ("propagate", "skip", "error")

BINS = 32
#: Numbers in a report: four, six for each of three summaries, the histograms of two.
REPORT_SIZE = 4 + 3 * 6 + 2 * (4 + BINS)

_AFTER_LOGITS = 15  # the inputs of the losses beside logits, none of which has a gradient
_REDUCTION = 10  # the position of `reduction` among all inputs


def _result_type(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def _check_shapes(logits: Tensor, targets: Tensor) -> None:
    torch._check(logits.dim() == 2, lambda: "idiolect: logits: two dimensions expected, rows x vocabulary")
    torch._check(targets.dim() == 1, lambda: "idiolect: targets: one dimension expected")
    torch._check(
        logits.shape[0] == targets.shape[0],
        lambda: f"idiolect: targets: {targets.shape[0]} targets for {logits.shape[0]} rows of logits",
    )


def _fake_value(logits: Tensor, targets: Tensor, reduction: int) -> tuple[Tensor, Tensor]:
    _check_shapes(logits, targets)
    shape = (logits.shape[0],) if REDUCTIONS[reduction] == "none" else ()
    value = logits.new_empty(shape, dtype=_result_type(logits))
    return value, logits.new_empty((REPORT_SIZE,), dtype=torch.float64)


@register_fake("idiolect::loss")
def _(logits, targets, *options):
    gradient = logits.new_empty(logits.shape)
    return *_fake_value(logits, targets, options[_REDUCTION - 2]), gradient


@register_fake("idiolect::loss_value")
def _(logits, targets, *options):
    return _fake_value(logits, targets, options[_REDUCTION - 2])


@register_fake("idiolect::loss_")
def _(logits, targets, *options):
    return _fake_value(logits, targets, options[_REDUCTION - 2])


@register_fake("idiolect::score")
def _(logits, targets, ignore_index, temperature, threads):
    _check_shapes(logits, targets)
    return tuple(logits.new_empty((logits.shape[0],), dtype=_result_type(logits)) for _ in range(4))


class _Once(torch.autograd.Function):
    """The gradient where a graph of it was asked for: using that graph is an error, in words."""

    @staticmethod
    def forward(ctx, gradient, anchor):
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx, *_):
        raise RuntimeError(
            "idiolect: the loss cannot be differentiated twice: its gradient is computed as numbers, "
            "without a graph of its own"
        )


def _graph_is_kept() -> bool:
    """Whether the backward pass that runs may run again (retain_graph); True where torch does not say."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if ask is None else ask()


def _scaled(gradient: Tensor, factor: Tensor, ours: bool) -> Tensor:
    """The gradient times that of the loss, which is one number or one a row. `ours`: its memory is
    free to be overwritten and handed on."""
    if type(factor) is not torch.Tensor or type(gradient) is not torch.Tensor:  # torch.compile traces
        return (gradient * factor.unsqueeze(-1)).to(gradient.dtype)
    if not ours:
        gradient = (gradient * factor.unsqueeze(-1)).to(gradient.dtype)
    elif factor.dim() > 0 or factor.item() != 1:
        with torch.no_grad():
            gradient.mul_(factor.unsqueeze(-1))
    if torch.is_grad_enabled():
        return _Once.apply(gradient, gradient.new_zeros((), requires_grad=True))
    return gradient


def _setup(ctx, inputs, output):
    _, report, gradient = output
    ctx.mark_non_differentiable(report, gradient)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(gradient)


def _backward(ctx, factor, _report, _gradient):
    rest = (None,) * _AFTER_LOGITS
    if factor is None:
        return None, *rest
    (gradient,) = ctx.saved_tensors
    ours = type(factor) is torch.Tensor and not _graph_is_kept()
    return _scaled(gradient, factor, ours), *rest


register_autograd("idiolect::loss", _backward, setup_context=_setup)


class LossInLogits(torch.autograd.Function):
    """loss_ with autograd: the gradient is in the logits' memory from forward on, and backward hands
    it on, once."""

    @staticmethod
    def forward(ctx, logits, rows, *options):
        value, report = torch.ops.idiolect.loss_(rows, *options)
        torch.autograd.graph.increment_version(rows)  # who saved the logits for backward is told
        ctx.save_for_backward(rows)
        ctx.shape = logits.shape
        ctx.spent = False
        ctx.mark_non_differentiable(report)
        ctx.set_materialize_grads(False)
        return value, report

    @staticmethod
    def backward(ctx, factor, _report):
        rest = (None,) * (_AFTER_LOGITS + 1)
        if factor is None:
            return None, *rest
        if ctx.spent:
            raise RuntimeError(
                "idiolect: gradient_in_logits: the first backward has used the gradient up; there is no second"
            )
        ctx.spent = True
        (gradient,) = ctx.saved_tensors
        return _scaled(gradient, factor, True).view(ctx.shape), *rest
