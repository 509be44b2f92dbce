"""One optimiser step on some rows of a table and its derivative; the optimiser is not changed.

SGD and Adam treat each element by itself. The derivative of the new value ``Θ̄ = f(Θ, g)`` with
respect to the gradient ``g`` is therefore elementwise too, and a few rows can be updated without
the rest of the table.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer, SparseAdam

from recbole_ext.arithmetic.adam_moments import AdamState

OPTIMIZERS = ("adam", "sgd", "sparse_adam")


class Step(NamedTuple):
    """The result of an optimiser step on some rows, and its derivative.

    Attributes:
        updated: the rows after the step, shape: [rows, embedding_size]
        slope: ``∂f/∂g``, the new values' derivative by the gradient, shape: [rows, embedding_size]
    """

    updated: Tensor
    slope: Tensor


def sgd_step(rows: Tensor, gradient: Tensor, learning_rate: float) -> Step:
    """Plain SGD: ``f(Θ, g) = Θ − lr·g``."""
    return Step(rows - learning_rate * gradient, torch.full_like(rows, -learning_rate))


def adam_step(
    rows: Tensor,
    gradient: Tensor,
    state: AdamState,
    learning_rate: float,
    betas: tuple[float, float],
    eps: float,
) -> Step:
    """Adam: ``f(Θ, g) = Θ − lr·m̂ / (√v̂ + eps)``, and its derivative through ``m`` and ``v``.

    At ``v = 0`` the derivative of the square root is set to 0. As ``m`` is 0 there too, this has no
    effect, and the derivative of ``f``, ``−lr·(1−β₁)/(1−β₁ᵗ)/eps``, is exact.

    Args:
        rows: current values, shape: [rows, embedding_size]
        gradient: gradient of the rows, shape: [rows, embedding_size]
        state: Adam's moments before this step.
        learning_rate: ``lr``.
        betas: ``β₁, β₂``.
        eps: added to ``√v̂``.
    """
    beta1, beta2 = betas
    step = int(state.step) + 1
    rest1, rest2 = 1 - beta1**step, math.sqrt(1 - beta2**step)
    rate = learning_rate * rest2 / rest1
    first = torch.lerp(state.first, gradient, 1 - beta1)
    root = (state.second * beta2).addcmul_(gradient, gradient, value=1 - beta2).sqrt_()  # √v
    denominator = root + eps * rest2
    ratio = first.div_(denominator)
    updated = torch.add(rows, ratio, alpha=-rate)
    root_slope = gradient / root.clamp_(min=math.sqrt(torch.finfo(root.dtype).tiny))  # 0 / 0 = 0
    slope = torch.full((), -rate * (1 - beta1), dtype=rows.dtype, device=rows.device)
    slope = torch.addcmul(slope, ratio, root_slope, value=rate * (1 - beta2))
    return Step(updated, slope.div_(denominator))


def lookahead_rows(
    optimizer: Optimizer,
    table: Tensor,
    ids: Tensor | slice,
    rows: Tensor,
    gradient: Tensor,
    touched: Tensor | None = None,
) -> Step:
    """The step that ``optimizer`` would take on the rows ``ids`` of ``table``.

    Args:
        optimizer: SGD without momentum, Adam or SparseAdam, in any state; it is only read.
        table: one of the optimiser's parameters, shape: [n_rows, embedding_size]
        ids: distinct rows of the table, shape: [rows]; ``slice(None)`` for all of them.
        rows: current values of these rows, shape: [rows, embedding_size]
        gradient: gradient of the loss, without weight decay, shape: [rows, embedding_size]
        touched: which rows the gradient holds, by default all, shape: [rows]; SparseAdam skips the
            others.

    Returns:
        New values of these rows and their derivative.

    Raises:
        TypeError: if the optimiser is of another kind.
    """
    group = next(g for g in optimizer.param_groups if any(p is table for p in g["params"]))
    if group.get("weight_decay", 0):
        gradient = gradient.add(rows, alpha=group["weight_decay"])
    kind = type(optimizer)  # AdamW may be a subclass of Adam, but takes other steps
    if kind is SGD:
        return sgd_step(rows, gradient, group["lr"])
    if kind is not Adam and not isinstance(optimizer, SparseAdam):
        raise TypeError(f"no look-ahead for {kind.__name__}: use one of {OPTIMIZERS}")
    state = adam_state(optimizer, table, ids)
    if kind is Adam:
        return adam_step(rows, gradient, state, group["lr"], group["betas"], group["eps"])
    # Unlike Adam, SparseAdam adds eps to √v before the bias correction.
    eps = group["eps"] / math.sqrt(1 - group["betas"][1] ** (state.step + 1))
    step = adam_step(rows, gradient, state, group["lr"], group["betas"], eps)
    if touched is None or touched.all():
        return step
    keep = touched.unsqueeze(-1)
    return Step(torch.where(keep, step.updated, rows), torch.where(keep, step.slope, 0.0))


def adam_state(optimizer: Optimizer, table: Tensor, ids: Tensor | slice = slice(None)) -> AdamState:
    """Adam's moments of some rows of a table; they are zeros before the first step."""
    state = optimizer.state.get(table)
    if not state:
        zeros = torch.zeros_like(rows_of(table, ids))
        return AdamState(zeros, zeros, 0)
    first, second = rows_of(state["exp_avg"], ids), rows_of(state["exp_avg_sq"], ids)
    return AdamState(first, second, int(state["step"]))


def rows_of(table: Tensor, ids: Tensor | slice) -> Tensor:
    """The detached rows ``table[ids]``, read several times faster than by indexing."""
    return table.detach()[ids] if isinstance(ids, slice) else table.detach().index_select(0, ids)
