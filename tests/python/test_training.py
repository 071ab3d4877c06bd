# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""A model is trained with idiolect_torch.loss and with the same formula in torch's operations: loss and
parameters agree step by step."""

import unittest

import reference
import torch
from char_model import CharModel, batches

import idiolect_torch


def train(loss, dtype, steps):
    """Yields the loss and all parameters after each step of AdamW."""
    torch.manual_seed(5)
    model = CharModel().to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for inputs, targets in batches(steps):
        value = loss(model(inputs), targets)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        yield value.item(), torch.cat([p.detach().flatten() for p in model.parameters()])


class Training(unittest.TestCase):
    def setUp(self):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # for so small a model; more would wait for one another
        self.addCleanup(torch.set_num_threads, threads)

    def compare(self, gate, dtype, steps, loss_tolerance, parameter_tolerance, **options):
        ours = train(lambda z, y: idiolect_torch.loss(z, y, gate, **options), dtype, steps)
        options.pop("gradient_in_logits", None)
        formula = train(lambda z, y: reference.loss(z, y, gate, options), dtype, steps)
        losses = []
        for step, ((value, parameters), (wanted, expected)) in enumerate(zip(ours, formula)):
            losses.append(value)
            self.assertLess(abs(value - wanted), loss_tolerance, f"loss at step {step}")
            self.assertLess((parameters - expected).abs().max(), parameter_tolerance, f"parameters at step {step}")
        self.assertEqual(len(losses), steps)
        return losses

    def test_float64(self):
        self.compare("idft", torch.float64, 100, 1e-10, 1e-10)
        self.compare("idft", torch.float64, 100, 1e-10, 1e-10, beta=0.5, gamma_max=1.2, gradient_in_logits=True)
        losses = self.compare("nll", torch.float64, 100, 1e-10, 1e-10)
        self.assertLess(sum(losses[-10:]) / 10, losses[0] - 0.3, "nothing was learned")

    def test_float32(self):
        # Rounding, which Adam divides by the gradient's own size: 3e-6 in a parameter that moves by up to
        # 3e-3 a step, and 1e-7 in a loss. Ten times that is allowed.
        self.compare("idft", torch.float32, 100, 1e-6, 3e-5)
        self.compare("dft", torch.float32, 100, 1e-6, 3e-5)

    def test_half_precision_under_autocast(self):
        # bfloat16 logits, float32 parameters: the gradient has 8 bits, the loss is of the rounded logits.
        torch.manual_seed(5)
        model = CharModel()
        inputs, targets = next(iter(batches(1)))
        gradients = []
        for loss in (
            lambda z: idiolect_torch.loss(z, targets, "idft"),
            lambda z: reference.loss(z.double(), targets, "idft"),
        ):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(inputs)
            self.assertEqual(logits.dtype, torch.bfloat16)
            gradients.append(torch.autograd.grad(loss(logits), model.head.weight)[0])
        self.assertLess((gradients[0] - gradients[1]).norm(), 5e-3 * gradients[1].norm())


if __name__ == "__main__":
    unittest.main()
