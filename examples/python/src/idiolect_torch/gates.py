# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""The gates by name: their numbers, as in ../gates.hpp, and their parameters in that order.

A gate is the weight w of a token in the loss -w log p, of p the target's probability, H the row's
entropy and phi = log p + H; natural logarithms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gate:
    """What a gate computes and which parameters it has. A default of None is filled in by `numbers`."""

    number: int
    formula: str
    parameters: dict[str, Any]


GATES: dict[str, Gate] = {
    "nll": Gate(0, "1: plain likelihood", {}),
    "dft": Gate(1, "p", {}),
    "idft": Gate(
        2,
        "p^gamma, gamma = 1 + strength (clamp(exp(-phi / beta), gamma_min, gamma_max) - 1); "
        "with gamma_form='clamp_phi' phi is clamped to [-bound, bound] instead",
        {
            "beta": 1.0,
            "gamma_min": 0.1,
            "gamma_max": 2.0,
            "strength": 1.0,
            "gamma_form": "clamp_gamma",
            "bound": 5.0,
        },
    ),
    "power": Gate(3, "p^q where p >= theta, else 0", {"q": 1.0, "theta": 0.0}),
    "deft": Gate(4, "p^alpha, alpha the sum of the row's p^2", {}),
    "eaft": Gate(5, "(H / h_norm)^alpha; h_norm in nats, by default ln V", {"h_norm": None, "alpha": 1.0}),
    "prob_threshold": Gate(6, "1 where p >= theta, else 0", {"theta": 0.1}),
    "phi_threshold": Gate(7, "1 where phi >= theta nats, else 0", {"theta": -5.0}),
    "talr": Gate(8, "max(p^(1/t), floor)", {"t": 1.0, "floor": 0.01}),
    "chord": Gate(9, "p (1 - p)", {}),
    "reverse": Gate(10, "(1 - p)^gamma", {"gamma": 1.0}),
    "endorsement": Gate(11, "exp(min(phi, 0)), or 1 - that where the token's weight is negative", {}),
}

#: Other names in use.
ALIASES = {"sft": "nll", "profit": "prob_threshold", "phi_mask": "phi_threshold"}

_FORMS = {"clamp_gamma": 0.0, "clamp_phi": 1.0}


def numbers(name: str, given: dict[str, Any], vocabulary: int) -> tuple[int, list[float]]:
    """The number of gate `name` and its parameters. Raises ValueError for a name, TypeError for a
    parameter that the gate does not have."""
    gate = GATES.get(ALIASES.get(name, name))
    if gate is None:
        names = ", ".join([*GATES, *ALIASES])
        raise ValueError(f"idiolect: gate: expected one of {names}; found {name!r}")
    for parameter in given:
        if parameter not in gate.parameters:
            has = ", ".join(gate.parameters) or "no parameters"
            raise TypeError(f"idiolect: {parameter}: gate {name!r} does not have it; it has {has}")
    values = {**gate.parameters, **given}
    if values.get("h_norm", 0.0) is None:
        values["h_norm"] = math.log(vocabulary)
    if "gamma_form" in values:
        form = values["gamma_form"]
        if form not in _FORMS:
            raise ValueError(f"idiolect: gamma_form: expected clamp_gamma or clamp_phi; found {form!r}")
        values["gamma_form"] = _FORMS[form]
    return gate.number, [float(value) for value in values.values()]
