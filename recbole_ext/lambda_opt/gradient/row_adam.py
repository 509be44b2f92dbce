"""Faster versions of torch's optimisers, which take the same steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer, SparseAdam

from recbole_ext.arithmetic.fused_adam import fused


def fast_optimizer(optimizer: Optimizer) -> Optimizer:
    """A faster optimiser with the same steps, for Adam and SparseAdam.

    Adam makes one pass over its tables, and SparseAdam one over the rows of its gradients. Any
    other optimiser is returned unchanged.
    """
    if type(optimizer) is SparseAdam:
        return RowAdam(optimizer.param_groups)
    return fused(optimizer)


class RowAdam(SparseAdam):
    """``torch.optim.SparseAdam`` with the same steps and state, but one read and write per row.

    The parameters and their sparse gradients have the shape: [n_rows, embedding_size].
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the rows that the gradients hold; other rows and their moments do not change."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._step(table, group)
        return loss

    def _step(self, table: Tensor, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        state = self.state[table]
        if not state:
            state.update(
                step=0, exp_avg=torch.zeros_like(table), exp_avg_sq=torch.zeros_like(table)
            )
        state["step"] += 1
        held = table.grad.coalesce()  # type: ignore[union-attr]
        ids, gradient = held._indices()[0], held._values()
        first = state["exp_avg"].index_select(0, ids).lerp_(gradient, 1 - beta1)
        second = state["exp_avg_sq"].index_select(0, ids).mul_(beta2)
        second.addcmul_(gradient, gradient, value=1 - beta2)
        state["exp_avg"].index_copy_(0, ids, first)
        state["exp_avg_sq"].index_copy_(0, ids, second)
        rest1, rest2 = 1 - beta1 ** state["step"], 1 - beta2 ** state["step"]
        rate = group["lr"] * math.sqrt(rest2) / rest1
        table.index_add_(0, ids, first.div_(second.sqrt_().add_(group["eps"])), alpha=-rate)
