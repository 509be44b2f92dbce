"""Sums over the shares of all processes that can be differentiated, any number of times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recbole_ext.processes.group import group
from recbole_ext.processes.shares import Share, sum_shares


def differentiable_sums(values: Sequence[Tensor | None], share: Share) -> list[Tensor | None]:
    """The sums over all shares; ``None`` stays, and must be ``None`` in all processes.

    Each process differentiates a loss of its share. The sum of its derivatives over all processes
    is the derivative of the loss of the batch.
    """
    if group().size == 1:
        return list(values)
    summed = iter(_Sum.apply(share, *(value for value in values if value is not None)))
    return [None if value is None else next(summed) for value in values]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, share: Share, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.share = share
        return tuple(sum_shares(values, share))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return None, *_Sum.apply(ctx.share, *gradients)
