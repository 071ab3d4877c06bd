# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0
"""A small PyTorch model of characters, and texts for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TEXT = (
    "the river keeps its own time, and the town keeps the river's. in spring the water comes up to the "
    "third step of the mill, and nobody builds below it. old people say that a flood is only the river "
    "remembering where it used to sleep. children say that it wants to read the books in the school. "
)
LETTERS = sorted(set(TEXT))


class CharModel(nn.Module):
    """Characters to logits: an embedding, a GRU of two layers, a linear head."""

    def __init__(self, width: int = 24):
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), width)
        self.recurrent = nn.GRU(width, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, len(LETTERS))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.recurrent(self.embedding(tokens))[0])


def batches(steps: int, batch: int = 4, length: int = 20, seed: int = 3):
    """Inputs and targets, the next characters, of which the first three of a text are not trained."""
    text = torch.tensor([LETTERS.index(c) for c in TEXT])
    g = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        at = torch.randint(len(text) - length - 1, (batch, 1), generator=g) + torch.arange(length + 1)
        targets = text[at[:, 1:]].clone()
        targets[:, :3] = -100
        yield text[at[:, :-1]], targets
