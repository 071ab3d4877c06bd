# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""The Python of docs/guide/python.md runs, block after block."""

import contextlib
import io
import pathlib
import re
import unittest

import idiolect_torch

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "guide" / "python.md"


class Guide(unittest.TestCase):
    def test_blocks(self):
        page = PAGE.read_text()
        blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        self.assertGreaterEqual(len(blocks), 2)
        names: dict = {}
        with contextlib.redirect_stdout(io.StringIO()) as out:
            for block in blocks:
                exec(compile(block, str(PAGE), "exec"), names)
        self.assertIn("mean phi", out.getvalue())
        self.assertIsNotNone(names["head"].weight.grad)
        self.assertIn("lists all twelve", page)
        self.assertEqual(len(idiolect_torch.GATES), 12)

    def test_the_error_is_quoted_rightly(self):
        import torch

        with self.assertRaises(RuntimeError) as caught:
            idiolect_torch.loss(torch.zeros(4, 1000), torch.tensor([0, 1, 2, 1000]))
        self.assertIn(str(caught.exception), PAGE.read_text())


if __name__ == "__main__":
    unittest.main()
