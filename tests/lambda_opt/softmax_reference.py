"""A small world of the softmax and its losses, one user at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recbole_ext.lambda_opt.gradient import softmax
from recbole_ext.lambda_opt.gradient.user_batch import Factors, UserBatch

N_USERS, N_ITEMS, SIZE = 7, 9, 3


def factors(seed: int = 0) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    shapes = (N_USERS, SIZE), (N_ITEMS, SIZE), (N_ITEMS,)
    return Factors(*(torch.randn(s, generator=generator, dtype=torch.double) for s in shapes))


def batch(users: list[int], items: list[list[int]], barred: list[tuple[int, int]] | None = None,
          mean: bool = False) -> UserBatch:  # fmt: skip
    owned = [
        (row, item, some.count(item)) for row, some in enumerate(items) for item in sorted({*some})
    ]
    rows, flat, times = (torch.tensor(part) for part in zip(*owned, strict=True))
    counts = torch.tensor([[float(len(some))] for some in items], dtype=torch.double)
    pairs = (
        None if barred is None else tuple(torch.tensor(part) for part in zip(*barred, strict=True))
    )
    divisor = counts.sum().item() if mean else len(users)
    return UserBatch(torch.tensor(users), rows, flat, times.double(), counts, pairs, divisor)


TRAIN = batch([1, 4, 6], [[2, 3, 3, 8], [1], [5, 7]])
VALID = batch([1, 2, 6], [[4, 5], [8, 1, 2], [3]], [(0, 2), (0, 3), (2, 5), (2, 3)], mean=True)


def chances(parameters: Factors, some: UserBatch, scale: float = 1.0) -> Tensor:
    """The log of each item's chance, one user at a time."""
    rows = []
    for at, user in enumerate(some.users.tolist()):
        own = {int(i) for r, i in zip(some.rows, some.items, strict=True) if r == at}
        bars = {int(i) for r, i in zip(*(some.barred or ([], [])), strict=True) if r == at} - own
        scores = parameters.items @ parameters.users[user] + parameters.bias
        out = torch.tensor([item == 0 or item in bars for item in range(N_ITEMS)])
        rows.append((scores * scale).masked_fill(out, -math.inf).log_softmax(0))
    return torch.stack(rows)


def likelihood(parameters: Factors, some: UserBatch, scale: float = 1.0) -> Tensor:
    found = chances(parameters, some, scale)[some.rows, some.items]
    return -(found * some.times).sum() / some.divisor


def hit(parameters: Factors, some: UserBatch, scale: float = 1.0) -> Tensor:
    log_chances, losses = chances(parameters, some, scale), []
    for at in range(len(some.users)):
        own = log_chances[at, some.items[some.rows == at]]
        losses.append(-(own.exp() ** softmax.FOCUS).sum().log() / softmax.FOCUS)
    return torch.stack(losses).mean()
