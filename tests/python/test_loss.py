# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""idiolect_torch.loss and score against their formulas in torch, value and gradient."""

import itertools
import math
import unittest

import reference
import torch

import idiolect_torch

GATES = [
    ("nll", {}),
    ("dft", {}),
    ("idft", {}),
    ("idft", {"beta": 0.7, "gamma_min": 0.2, "gamma_max": 1.5, "strength": 0.6}),
    ("idft", {"gamma_form": "clamp_phi", "bound": 1.0, "beta": 2.0}),
    ("power", {"q": 0.5, "theta": 0.02}),
    ("deft", {}),
    ("eaft", {}),
    ("eaft", {"h_norm": 2.0, "alpha": 1.5}),
    ("prob_threshold", {"theta": 0.05}),
    ("phi_threshold", {"theta": -1.0}),
    ("talr", {"t": 2.0, "floor": 0.2}),
    ("chord", {}),
    ("reverse", {"gamma": 2.0}),
    ("endorsement", {}),
]


def make(*shape, dtype=torch.float64, seed=1, scale=2.0):
    """Logits with a gradient, and targets of which every seventh is ignored."""
    g = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(*shape, generator=g, dtype=torch.float64)).to(dtype)
    targets = torch.randint(shape[-1], shape[:-1], generator=g)
    targets.view(-1)[3::7] = -100
    return logits.requires_grad_(), targets


def value_and_gradient(f, logits):
    """f's value, and its gradient weighted by cosines, so that a loss per token counts too."""
    value = f(logits)
    cosines = torch.arange(value.numel(), dtype=value.dtype).cos().view(value.shape)
    return value, torch.autograd.grad((value * cosines).sum(), logits)[0]


class Formulas(unittest.TestCase):
    def same(self, logits, targets, gate, parameters=None, tolerance=1e-12, weights=None, **options):
        ours = value_and_gradient(
            lambda z: idiolect_torch.loss(z, targets, gate, weights=weights, **(parameters or {}), **options), logits
        )
        expected = value_and_gradient(
            lambda z: reference.loss(z.double(), targets, gate, parameters, weights=weights, **options), logits
        )
        for found, wanted, what in zip(ours, expected, ("loss", "gradient")):
            self.assertGreater(wanted.abs().max(), 0, "nothing to compare")
            difference = (found.double() - wanted.double()).abs().max()
            self.assertLess(difference, tolerance * max(1, wanted.abs().max()), f"{gate} {parameters} {what}")
        self.assertEqual(ours[1].dtype, logits.dtype)
        return ours

    def test_every_gate(self):
        logits, targets = make(6, 9, 23)
        names = {name for name, _ in GATES}
        self.assertEqual(names, set(idiolect_torch.GATES))
        for (name, parameters), reduction in itertools.product(GATES, ("mean", "none")):
            self.same(logits, targets, name, parameters, reduction=reduction)

    def test_gates_differ(self):
        logits, targets = make(6, 9, 23)
        values = [idiolect_torch.loss(logits, targets, name, **p).item() for name, p in GATES]
        self.assertEqual(len({round(v, 9) for v in values}), len(values))

    def test_through_the_weight(self):
        logits, targets = make(50, 17)
        for name, parameters in GATES:
            if name == "deft":
                with self.assertRaisesRegex(RuntimeError, "stop-gradient"):
                    idiolect_torch.loss(logits, targets, name, through_weight=True)
            elif name == "endorsement" or "threshold" not in name:
                self.same(logits, targets, name, parameters, through_weight=True)

    def test_aliases(self):
        logits, targets = make(50, 17)
        for alias, name in idiolect_torch.ALIASES.items():
            self.assertEqual(*(idiolect_torch.loss(logits, targets, n).item() for n in (alias, name)))

    def test_dtypes(self):
        # float32 keeps 24 bits in sums of 300; the gradient of a 16-bit type is rounded to it.
        for dtype, tolerance in (
            (torch.float32, 2e-6),
            (torch.float16, 1e-3),
            (torch.bfloat16, 8e-3),
        ):
            logits, targets = make(40, 300, dtype=dtype)
            for name in ("idft", "deft", "nll"):
                value, _ = self.same(logits, targets, name, tolerance=tolerance)
                self.assertEqual(value.dtype, torch.float32)
                same_logits = logits.detach().double().requires_grad_()
                self.assertAlmostEqual(
                    value.item(), idiolect_torch.loss(same_logits, targets, name).item(), delta=2e-6 * value.item()
                )

    def test_int32_targets(self):
        logits, targets = make(40, 30)
        self.same(logits, targets.int(), "idft")

    def test_strides(self):
        logits, targets = make(8, 12, 20)
        base = logits.detach()
        layouts = {
            "rows apart": torch.cat([base, base], -1)[..., :20],
            "every second row": torch.stack([base, base], 2).view(8, 24, 20)[:, ::2],
            "shifted": torch.cat([base, base[:, :1]], 1)[:, :-1],
            "columns": base.flatten(0, 1).t().contiguous().t().view(8, 12, 20),
            "batch last": base.permute(1, 2, 0).contiguous().permute(2, 0, 1),
            "every second element": torch.stack([base, base], -1)[..., 0],
        }
        for name, layout in layouts.items():
            with self.subTest(name):
                self.assertTrue(torch.equal(layout, base))
                self.assertFalse(layout.is_contiguous())
                self.same(layout.requires_grad_(), targets, "idft")
        one = base[:1, :1].expand(8, 12, 20)
        self.same(one.requires_grad_(), targets, "idft")
        self.same(logits, targets.t().contiguous().t(), "idft")

    def test_shapes(self):
        logits, targets = make(2, 3, 4, 15)
        self.same(logits, targets, "idft", reduction="none")
        single = torch.randn(15, dtype=torch.float64, requires_grad=True)
        self.same(single, torch.tensor(3), "idft")
        self.same(torch.randn(1, 15, dtype=torch.float64, requires_grad=True), torch.tensor([3]), "idft")
        empty = torch.zeros(0, 15, requires_grad=True)
        value = idiolect_torch.loss(empty, torch.zeros(0, dtype=torch.int64))
        value.backward()
        self.assertEqual((value.item(), empty.grad.shape), (0, (0, 15)))

    def test_reductions(self):
        logits, targets = make(5, 8, 20)
        targets[2] = -100  # a sequence without a valid token
        for options in (
            {"reduction": "sum"},
            {"reduction": "mean_over", "tokens": 77.0},
            {"reduction": "sequence_mean"},
            {"reduction": "none"},
        ):
            self.same(logits, targets, "idft", **options)
        offsets = torch.tensor([0, 8, 16, 24, 32, 40])
        flat = idiolect_torch.loss(
            logits.flatten(0, 1), targets.flatten(), reduction="sequence_mean", sequence_offsets=offsets
        )
        self.assertEqual(flat, idiolect_torch.loss(logits, targets, reduction="sequence_mean"))

    def test_options(self):
        logits, targets = make(5, 8, 20)
        weights = torch.linspace(-1, 2, 40, dtype=torch.float32).view(5, 8)
        self.same(logits, targets, "idft", weights=weights)
        self.same(logits, targets, "endorsement", weights=weights, through_weight=True)
        self.same(logits, targets, "idft", weights=weights[:, :1])
        self.same(logits, targets, "idft", temperature=1.7)
        self.same(logits, targets.where(targets >= 0, 0), "idft", ignore_index=0)
        self.same(logits, targets, "idft", protect=(int(targets[0, 0]), 5), protect_weight=0.5)
        self.assertEqual(idiolect_torch.loss(logits, torch.full_like(targets, -100)), 0)

    def test_a_function_as_gate(self):
        logits, targets = make(5, 8, 20)
        ours = value_and_gradient(
            lambda z: idiolect_torch.loss(z, targets, lambda s: s.phi.clamp(max=0).exp(), temperature=1.3), logits
        )
        named = value_and_gradient(lambda z: idiolect_torch.loss(z, targets, "endorsement", temperature=1.3), logits)
        for found, wanted in zip(ours, named):
            self.assertLess((found - wanted).abs().max(), 1e-7)  # its weights are float32

    def test_score(self):
        logits, targets = make(5, 8, 20)
        scores = idiolect_torch.score(logits, targets, temperature=1.5)
        valid = targets != -100
        l, log_p, entropy = reference.statistics(logits.flatten(0, 1) / 1.5, targets.clamp(min=0).flatten())
        variance = (log_p.exp() * (log_p + entropy[:, None]).square()).sum(-1)
        for found, wanted in zip(scores, (l, entropy, variance, l + entropy)):
            self.assertEqual(found.shape, targets.shape)
            self.assertFalse(found.requires_grad)
            self.assertLess((found - wanted.view(5, 8))[valid].abs().max(), 1e-12)
            self.assertTrue(found[~valid].isnan().all())
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            rounded = idiolect_torch.score(logits.to(dtype), targets)
            exact = idiolect_torch.score(logits.to(dtype).double(), targets)
            self.assertEqual(rounded.phi.dtype, torch.float32)
            self.assertLess((rounded.phi - exact.phi)[valid].abs().max(), 5e-6)

    def test_report(self):
        logits, targets = make(5, 8, 20)
        end = int(targets[0, 0])
        value, report = idiolect_torch.loss_with_report(logits, targets, "dft", end_tokens=[end])
        scores = idiolect_torch.score(logits, targets)
        valid = targets != -100
        phi, p = scores.phi[valid], scores.log_prob[valid].exp()
        ends = scores.log_prob[targets == end].exp()
        self.assertTrue(value.requires_grad)
        self.assertEqual((report["loss"], report["valid"], report["non_finite"]), (value.item(), len(phi), 0))
        for found, wanted in (
            (report["mean_nll"], -scores.log_prob[valid].mean()),
            (report["phi"]["mean"], phi.mean()),
            (report["phi"]["variance"], phi.var()),
            (report["phi"]["min"], phi.min()),
            (report["phi"]["max"], phi.max()),
            (report["weight"]["mean"], p.mean()),
            (report["weight"]["max"], p.max()),
            (report["end_prob"]["mean"], ends.mean()),
        ):
            self.assertAlmostEqual(found, wanted.item(), delta=1e-12)
        self.assertEqual(report["end_prob"]["count"], len(ends))
        for name, values in (("phi", phi), ("weight", p)):
            bins = report[name]["histogram"]
            counts = torch.histc(values, 32, bins["low"], bins["high"]).int().tolist()
            self.assertEqual((bins["counts"], bins["below"], bins["above"]), (counts, 0, 0))

    def test_rows_that_are_not_finite(self):
        logits, targets = make(6, 9)
        broken = logits.detach().clone()
        broken[1, 2] = math.nan
        broken.requires_grad_()
        value, report = idiolect_torch.loss_with_report(broken, targets)
        value.backward()
        self.assertTrue(value.isnan() and broken.grad[1].isnan().all() and broken.grad[0].isfinite().all())
        self.assertEqual(report["non_finite"], 1)
        broken.grad = None
        idiolect_torch.loss(broken, targets, non_finite="skip").backward()
        self.assertTrue((broken.grad[1] == 0).all() and broken.grad[0].abs().max() > 0)
        with self.assertRaisesRegex(RuntimeError, r"logits \(row 1\): NaN"):
            idiolect_torch.loss(broken, targets, non_finite="error")


if __name__ == "__main__":
    unittest.main()
