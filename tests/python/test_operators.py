# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""What torch expects of operators: schemas, fake tensors, autograd, compilation, memory, threads, and
errors in words."""

import os
import pathlib
import re
import subprocess
import unittest
import warnings

import torch
from test_loss import make

import idiolect_torch
from idiolect_torch import ops


def options(targets, reduction="mean", weights=None, threads=1):
    """The arguments of a loss operator after the logits, for idft. Every token is an end token: the
    report has no NaN then, which opcheck takes for a difference."""
    parameters = torch.tensor([1.0, 0.1, 2.0, 1.0, 0.0, 5.0], dtype=torch.float64)
    how = ops.REDUCTIONS.index(reduction)
    ends = torch.arange(30)
    return (targets, weights, None, 2, parameters, False, None, 1.0, ends, how, 0.0, -100, 1.0, 0, threads)


class Operators(unittest.TestCase):
    def test_opcheck(self):
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            logits, targets = make(12, 20, dtype=dtype)
            weights = torch.linspace(0, 1, 12)
            for reduction in ("mean", "none"):
                rest = options(targets, reduction, weights)
                torch.library.opcheck(torch.ops.idiolect.loss, (logits, *rest))
                torch.library.opcheck(torch.ops.idiolect.loss_value, (logits.detach(), *rest))
                torch.library.opcheck(torch.ops.idiolect.loss_, (logits.detach().clone(), *rest))
            torch.library.opcheck(torch.ops.idiolect.score, (logits.detach(), targets.clamp(min=0), -100, 1.0, 1))
        strided = make(12, 20)[0].detach().t().contiguous().t().requires_grad_()
        torch.library.opcheck(torch.ops.idiolect.loss, (strided, *options(targets)))

    def test_gradcheck(self):
        # Where the weight is differentiated the loss is what it says, and finite differences agree.
        logits, targets = make(6, 7)
        for gate in ("nll", "dft", "idft", "eaft", "chord", "reverse", "talr"):
            for reduction in ("mean", "none"):
                f = lambda z: idiolect_torch.loss(z, targets, gate, reduction=reduction, through_weight=True)  # noqa: E731,B023
                self.assertTrue(torch.autograd.gradcheck(f, (logits,)), gate)

    def test_fake_tensors(self):
        with torch._subclasses.FakeTensorMode():
            logits = torch.empty(4, 6, 50000, dtype=torch.bfloat16, requires_grad=True)
            targets = torch.empty(4, 6, dtype=torch.int64)
            value = idiolect_torch.loss(logits, targets, reduction="none")
            self.assertEqual((value.shape, value.dtype), ((4, 6), torch.float32))
            value.sum().backward()
            self.assertEqual((logits.grad.shape, logits.grad.dtype), (logits.shape, logits.dtype))
            self.assertEqual(idiolect_torch.score(logits, targets).phi.shape, (4, 6))
            with self.assertRaisesRegex(RuntimeError, "5 targets for 4 rows"):
                torch.ops.idiolect.score(logits[:, 0], targets.new_empty(5), -100, 1.0, 1)

    def test_compile(self):
        logits, targets = make(6, 9, 23)

        def step(z, y):
            scaled = z * 1.5
            return 2 * idiolect_torch.loss(scaled, y, "idft", beta=0.8), idiolect_torch.score(scaled, y).phi

        compiled = torch.compile(step, backend="aot_eager", fullgraph=True, dynamic=True)
        for n in (6, 5):
            results = []
            for f in (step, compiled):
                value, phi = f(logits[:n], targets[:n])
                results.append((value, phi, torch.autograd.grad(value, logits)[0]))
            for eager, traced in zip(*results):
                torch.testing.assert_close(eager, traced, rtol=1e-14, atol=0, equal_nan=True)

    def test_without_gradient(self):
        logits, targets = make(6, 9)
        with_gradient = idiolect_torch.loss(logits, targets)
        with torch.no_grad():
            value = idiolect_torch.loss(logits, targets)
        with torch.inference_mode():
            inferred = idiolect_torch.loss(logits, targets)
        for v in (value, inferred, idiolect_torch.loss(logits.detach(), targets)):
            self.assertFalse(v.requires_grad)
            self.assertEqual(v, with_gradient)

    def test_backward_again(self):
        logits, targets = make(6, 9)
        once = torch.autograd.grad(idiolect_torch.loss(logits, targets), logits)[0]
        value = idiolect_torch.loss(logits, targets)
        for times in (1, 2, 3):
            value.backward(retain_graph=True)
            self.assertTrue(torch.equal(logits.grad, times * once) or (logits.grad - times * once).abs().max() < 1e-16)
        (3 * value).backward()
        self.assertLess((logits.grad - 6 * once).abs().max(), 1e-15)
        with self.assertRaisesRegex(RuntimeError, "second time"):
            value.backward()

    def test_logits_used_twice(self):
        logits, targets = make(6, 9)
        hidden = logits * 2
        value = idiolect_torch.loss(hidden, targets) + idiolect_torch.loss(hidden, targets) + hidden.sum()
        found = torch.autograd.grad(value, logits)[0]
        once = torch.autograd.grad(idiolect_torch.loss(logits * 2, targets), logits)[0]
        self.assertLess((found - 2 * once - 2).abs().max(), 1e-14)

    def test_double_backward_is_refused(self):
        logits, targets = make(6, 9)
        gradient = torch.autograd.grad(idiolect_torch.loss(logits, targets), logits, create_graph=True)[0]
        plain = torch.autograd.grad(idiolect_torch.loss(logits, targets), logits)[0]
        self.assertTrue(torch.equal(gradient.detach(), plain))
        with self.assertRaisesRegex(RuntimeError, "idiolect: the loss cannot be differentiated twice"):
            gradient.square().sum().backward()


class InLogits(unittest.TestCase):
    def setUp(self):
        g = torch.Generator().manual_seed(2)
        self.weight = torch.randn(30, 8, generator=g, dtype=torch.float64).requires_grad_()
        self.hidden = torch.randn(4, 5, 8, generator=g, dtype=torch.float64)
        self.targets = make(4, 5, 30)[1]

    def test_the_same_gradient_in_the_logits_memory(self):
        for reduction, factor in (("mean", 1), ("mean", 3), ("none", 1)):
            expected, found = (
                torch.autograd.grad(
                    factor
                    * idiolect_torch.loss(
                        self.hidden @ self.weight.t(), self.targets, reduction=reduction, gradient_in_logits=place
                    ).sum(),
                    self.weight,
                )[0]
                for place in (False, True)
            )
            torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-16)
        logits = self.hidden @ self.weight.t()
        memory = logits.data_ptr()
        seen = []
        logits.register_hook(lambda g: seen.append(g.data_ptr()))
        idiolect_torch.loss(logits, self.targets, gradient_in_logits=True).backward()
        self.assertEqual(seen, [memory])

    def test_without_autograd(self):
        logits, targets = make(20, 30)
        value = idiolect_torch.loss(logits, targets, gradient_in_logits=False)
        (expected,) = torch.autograd.grad(value, logits)
        plain = logits.detach().clone()
        self.assertEqual(idiolect_torch.loss(plain, targets, gradient_in_logits=True), value)
        self.assertTrue(torch.equal(plain, expected))

    def test_inside_a_compiled_function(self):
        def step(h):
            return idiolect_torch.loss(h @ self.weight.t(), self.targets, gradient_in_logits=True)

        compiled = torch.compile(step, backend="aot_eager")
        expected, found = (torch.autograd.grad(f(self.hidden), self.weight)[0] for f in (step, compiled))
        self.assertTrue(torch.equal(expected, found))

    def test_misuse(self):
        logits = self.hidden @ self.weight.t()
        used_up = idiolect_torch.loss(logits, self.targets, gradient_in_logits=True)
        used_up.backward(retain_graph=True)
        with self.assertRaisesRegex(RuntimeError, "used the gradient up"):
            used_up.backward()
        leaf, targets = make(20, 30)
        with self.assertRaisesRegex(ValueError, "leaf"):
            idiolect_torch.loss(leaf, targets, gradient_in_logits=True)
        with self.assertRaisesRegex(ValueError, "evenly apart"):
            idiolect_torch.loss((leaf * 1).view(4, 5, 30)[:, :3], targets.view(4, 5)[:, :3], gradient_in_logits=True)
        with self.assertRaisesRegex(RuntimeError, "logits: their memory cannot take the gradient"):
            columns = leaf.detach().t().contiguous().t()
            idiolect_torch.loss(columns, targets, gradient_in_logits=True)
        # A function that needs its result for backward finds it overwritten, and says so.
        needed = leaf.exp()
        with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
            idiolect_torch.loss(needed, targets, gradient_in_logits=True).backward()
        changed = leaf * 1
        value = idiolect_torch.loss(changed, targets, gradient_in_logits=True)
        with torch.no_grad():
            changed.zero_()
        with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
            value.backward()


class Errors(unittest.TestCase):
    def test_words(self):
        z, y = make(3, 4, 10)
        for error, words, call in (
            (ValueError, r"targets: shape \(3, 3\) for logits of \(3, 4, 10\)", lambda: (z, y[:, :3])),
            (ValueError, "targets: int64 or int32 expected", lambda: (z, y.float())),
            (ValueError, "gate: expected one of nll, dft.*found 'idtf'", lambda: (z, y, "idtf")),
            (ValueError, "logits: a vocabulary", lambda: (z.sum(), y)),
            (RuntimeError, r"targets \(row 0\): target 10 is outside the vocabulary of 10", lambda: (z, y * 0 + 10)),
            (RuntimeError, r"targets \(row 0\): target -1 is outside", lambda: (z, y * 0 - 1)),
            (RuntimeError, "logits: float32, float64, float16 or bfloat16 expected; found", lambda: (z.int(), y)),
            (RuntimeError, "logits: an empty vocabulary", lambda: (z[..., :0], y)),
        ):
            for f in (idiolect_torch.loss, idiolect_torch.score)[: 1 if "gate" in words else 2]:
                with self.subTest(words, f=f.__name__), self.assertRaisesRegex(error, "^idiolect: " + words):
                    f(*call())

    def test_options(self):
        z, y = make(3, 4, 10)
        for error, words, given in (
            (TypeError, "beta: gate 'dft' does not have it; it has no parameters", {"gate": "dft", "beta": 1}),
            (TypeError, "bata: gate 'idft' does not have it; it has beta, gamma_min", {"bata": 1}),
            (ValueError, "reduction: expected one of sum, mean", {"reduction": "average"}),
            (ValueError, "tokens: goes with", {"tokens": 3}),
            (ValueError, "tokens: goes with", {"reduction": "mean_over"}),
            (ValueError, "gamma_form", {"gamma_form": "clamp"}),
            (ValueError, "weights: they get no gradient", {"weights": torch.ones(3, 4, requires_grad=True)}),
            (RuntimeError, "idft::beta: must be finite and > 0, got 0", {"beta": 0}),
            (RuntimeError, r"idft::gamma_min: must be in \[0, 2\], got 3", {"gamma_min": 3}),
            (RuntimeError, "eaft::h_norm: must be finite and > 0 nats", {"gate": "eaft", "h_norm": -1}),
            (RuntimeError, "temperature: must be", {"temperature": 0}),
            (RuntimeError, "reduction::mean_over: the number of tokens must be > 0", {"reduction": "mean_over", "tokens": 0}),
            (RuntimeError, "ignore_index: 5000000000 is no 32-bit token", {"ignore_index": 5000000000}),
            (RuntimeError, "sequence_offsets: must ascend", {"reduction": "sequence_mean", "sequence_offsets": torch.tensor([0, 9, 5, 12])}),
        ):
            with self.subTest(words), self.assertRaisesRegex(error, "^idiolect: " + words):
                idiolect_torch.loss(z, y, **given)

    def test_raw_operators(self):
        z, y = make(12, 10)
        z = z.detach()
        for words, logits, rest in (
            ("targets: 11 targets for 12 rows", z, options(y[:11])),
            ("logits: two dimensions expected", z[None], options(y)),
            ("targets: one dimension expected", z, options(y[None])),
            ("weights: 11 weights for 12 rows", z, options(y, weights=torch.ones(11))),
            ("weights: float32 or float64 expected; found Int", z, options(y, weights=torch.ones(12, dtype=torch.int32))),
            ("gate: there is no gate 99", z, (*options(y)[:3], 99, *options(y)[4:])),
            ("parameters: gate 2 has 6 parameters; found 1", z, (*options(y)[:4], y[:1].double(), *options(y)[5:])),
            ("threads: must be >= 0", z, options(y, threads=-1)),
        ):
            with self.subTest(words), self.assertRaisesRegex(RuntimeError, "^idiolect: " + words):
                torch.ops.idiolect.loss(logits, *rest)


class Library(unittest.TestCase):
    path = pathlib.Path(ops.__file__).with_name("_ops.abi3.so")

    def test_symbols(self):
        """Of torch it needs C functions alone, and of those none, but weakly, that 2.9 has not."""
        lines = subprocess.run(["nm", "-D", "--undefined-only", self.path], check=True, capture_output=True, text=True)
        needed = [line.split() for line in lines.stdout.splitlines()]
        names = [name for _, name in needed]
        self.assertIn("aoti_torch_library_def", names)
        cxx = [n for n in names if n.startswith("_Z") and re.search("torch|c10|at6|2at", n)]
        self.assertEqual(cxx, [])
        self.assertEqual([n for _, n in needed if re.match("_?Py", n)], [])
        self.assertEqual(
            {n for kind, n in needed if n.startswith("torch_") and kind != "w"}, set(), "newer than torch 2.9"
        )

    def test_tag(self):
        (wheel,) = self.path.parent.parent.glob("idiolect_torch-*.dist-info/WHEEL")
        self.assertRegex(wheel.read_text(), r"Tag: cp310-abi3-\w+")

    def test_threads(self):
        """The same bits for any number of threads, and no more threads than torch says."""
        logits, targets = make(300, 700, dtype=torch.float32)
        before = torch.get_num_threads()
        results = []
        try:
            for threads in (1, 2, 5):
                torch.set_num_threads(threads)
                value = idiolect_torch.loss(logits, targets)
                results.append((value.item(), torch.autograd.grad(value, logits)[0]))
                explicit = torch.ops.idiolect.loss(logits, *options(targets, threads=threads))
                self.assertTrue(torch.equal(explicit[2], results[-1][1]))
        finally:
            torch.set_num_threads(before)
        for value, gradient in results[1:]:
            self.assertEqual(value, results[0][0])
            self.assertTrue(torch.equal(gradient, results[0][1]))

    @unittest.skipUnless(os.path.isdir("/proc/self/task"), "counts threads in /proc")
    def test_one_thread_starts_none(self):
        code = (
            "import os, torch, idiolect_torch as it; torch.set_num_threads(1);"
            "z = torch.randn(300, 700); y = torch.zeros(300, dtype=torch.int64);"
            "n = lambda: len(os.listdir('/proc/self/task')); before = n();"
            "it.loss(z, y); it.score(z, y); print(n() - before)"
        )
        run = subprocess.run([os.sys.executable, "-c", code], check=True, capture_output=True, text=True)
        self.assertEqual(run.stdout.strip(), "0")

    @unittest.skipUnless(hasattr(os, "fork"), "fork")
    def test_forked(self):
        """A forked process, as a data loader's workers are, can compute."""
        logits, targets = make(100, 50)
        expected = idiolect_torch.score(logits, targets).phi.nansum()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads
            pid = os.fork()
        if pid == 0:
            torch.set_num_threads(1)  # torch's own pool does not outlive a fork
            os._exit(0 if idiolect_torch.score(logits, targets).phi.nansum() == expected else 1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)


if __name__ == "__main__":
    unittest.main()
