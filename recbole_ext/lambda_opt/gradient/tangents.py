"""The derivative of the embeddings with respect to λ through the whole training so far.

λOpt looks one training step ahead, but the effect of λ takes thousands of steps. While a model
still improves its fit, any λ only slows it down, so that the best λ for one step is 0. Here the
derivative ``Z = dΘ_t/dλ`` is updated in each step (forward-mode differentiation):

    Z_{t+1} = ∂f/∂Θ · Z_t + ∂f/∂λ,

where ``f`` is the optimiser's step on the loss and the penalty of a batch. The gradient of the
validation loss with respect to λ, the hypergradient, is ``∂l_V/∂Θ_t · Z_t`` at any time. The cost
grows with the number of λ, so that this method is for few λ.

In a long training the early steps' share of ``Z`` only adds noise, and may grow without bound. A
``memory`` below 1 forgets it: ``Z`` is multiplied by it in each step.

Reference:
    Franceschi et al. "Forward and Reverse Gradient-Based Hyperparameter Optimization." ICML 2017.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer, SparseAdam

from recbole_ext.arithmetic.adam_moments import AdamState
from recbole_ext.lambda_opt.gradient.bpr import Triples
from recbole_ext.lambda_opt.gradient.optimizer_step import adam_state, rows_of


class Tangent(NamedTuple):
    """Derivatives of a table and its Adam moments by one λ, each [n_rows, embedding_size].

    Attributes:
        table: ``dΘ/dλ``.
        first: ``dm/dλ``; unused by SGD.
        second: ``dv/dλ``; unused by SGD.
    """

    table: Tensor
    first: Tensor
    second: Tensor

    def rows(self, ids: Tensor | slice) -> Tangent:
        """Some rows: a copy, or for a slice what it is made of."""
        return Tangent(*(rows_of(part, ids) for part in self))

    def write(self, ids: Tensor | slice, rows: Tangent) -> None:
        """Write back what :meth:`rows` gave, once it has changed."""
        if not isinstance(ids, slice):
            for part, changed in zip(self, rows, strict=True):
                part.index_copy_(0, ids, changed)


def bpr_row_tangents(
    tables: tuple[Tensor, Tensor],
    tangents: tuple[Tensor, Tensor],
    triples: Triples,
    total: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The directional derivative of :func:`bpr_row_gradients` with respect to the tables.

    Args:
        tables: user and item embeddings, shapes: [n_users, embedding_size],
            [n_items, embedding_size]
        tangents: the direction, in the same shapes.
        triples: the batch, or some triples of a batch.
        total: the number of triples of the batch, by default all of these.

    Returns:
        Derivatives of the gradients of users, shape: [batch_size, embedding_size], and of items,
        positives first, shape: [2 * batch_size, embedding_size]
    """
    (users, items), (user_tangents, item_tangents) = tables, tangents
    user, item = rows_of(users, triples.users), rows_of(items, triples.items)
    user_tangent = rows_of(user_tangents, triples.users)
    size = len(user)
    item_tangent = rows_of(item_tangents, triples.items)
    difference, change = item[:size] - item[size:], item_tangent[:size] - item_tangent[size:]
    score = (user * difference).sum(-1, keepdim=True)
    moved = (user_tangent * difference + user * change).sum(-1, keepdim=True)
    below = torch.sigmoid(-score)
    of_batch = total or size
    slope, slope_moved = -below / of_batch, below * (1 - below) * moved / of_batch
    for_positive = slope_moved * user + slope * user_tangent
    return slope_moved * difference + slope * change, torch.cat([for_positive, -for_positive])


class TangentStep:
    """One step of the optimiser on a table, as it changes the table's tangents.

    Args:
        optimizer: SGD without momentum, Adam or SparseAdam, before its step; it is only read.
        table: one of its parameters, shape: [n_rows, embedding_size]
        gradient: the gradient of the rows in this step, weight decay included, shape: [rows,
            embedding_size]
        stride: number of steps that this step represents, itself and those skipped before it; 1 is
            exact.
        memory: the share of a tangent that is kept; 1 is exact.
        ids: the rows that the step changes, by default all.

    Raises:
        TypeError: if the optimiser is of another kind.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        table: Tensor,
        gradient: Tensor,
        stride: int = 1,
        memory: float = 1.0,
        ids: Tensor | slice = slice(None),
    ) -> None:
        group = next(g for g in optimizer.param_groups if any(p is table for p in g["params"]))
        self.gradient, self.memory = gradient, memory
        self.rate = group["lr"] * stride
        by_rows = isinstance(optimizer, SparseAdam)
        self.adam = type(optimizer) is Adam or by_rows
        if not self.adam and type(optimizer) is not SGD:
            raise TypeError(
                f"no tangent for {type(optimizer).__name__}: use adam, sparse_adam or sgd"
            )
        if self.adam:
            betas = group["betas"]
            self.decay = betas[0] ** stride, betas[1] ** stride
            state = adam_state(optimizer, table, ids)
            # Unlike Adam, SparseAdam adds eps to √v before the bias correction.
            corrected = math.sqrt(1 - betas[1] ** (int(state.step) + 1)) if by_rows else 1.0
            self._differentiate(state, betas, group["eps"] / corrected)

    def _differentiate(self, before: AdamState, betas: tuple[float, float], eps: float) -> None:
        """``d(m̂ / (√v̂ + eps))`` by ``m`` and by ``v``; at ``v = 0`` the latter is set to 0.

        It works in place, because new arrays of a table's size take longer than the arithmetic.
        """
        (beta1, beta2), gradient, step = betas, self.gradient, int(before.step) + 1
        self.corrections = 1 - beta1**step, 1 - beta2**step
        first = (before.first * beta1).add_(gradient * (1 - beta1)).div_(self.corrections[0])
        second = (gradient * (1 - beta2)).mul_(gradient).add_(before.second * beta2)
        root = second.div_(self.corrections[1]).sqrt_()
        self.inverse = (root + eps).reciprocal_()
        slope = self.inverse.square().mul_(first).div_(root.mul_(2))
        self.root_slope = slope.masked_fill_(root == 0, 0.0)

    def apply(self, tangent: Tangent, moved: Tensor) -> None:
        """Update a tangent in place.

        Args:
            tangent: the tangent before the step.
            moved: derivative of the gradient by the λ, ``∂g/∂Θ · Z + ∂g/∂λ``, in the rows' shape.
        """
        if self.memory != 1:
            tangent.table.mul_(self.memory)
        if not self.adam:
            tangent.table.sub_(moved, alpha=self.rate)
            return
        (first, second), (of_first, of_second) = self.decay, self.corrections
        tangent.first.mul_(first).add_(moved, alpha=1 - first)
        tangent.second.mul_(second).addcmul_(self.gradient, moved, value=2 * (1 - second))
        tangent.table.addcmul_(tangent.first, self.inverse, value=-self.rate / of_first)
        tangent.table.addcmul_(tangent.second, self.root_slope, value=self.rate / of_second)
