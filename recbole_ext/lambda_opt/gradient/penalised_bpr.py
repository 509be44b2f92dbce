"""The training loss of matrix factorisation with its gradient, reading a batch's rows only once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recbole_ext.lambda_opt.gradient.bpr import RowGradients
from recbole_ext.lambda_opt.gradient.owners import WHOLE, Owners


def penalised_bpr_loss(
    user_table: Tensor,
    item_table: Tensor,
    batch: RowGradients,
    strengths: tuple[Tensor | None, Tensor | None],
    sparse: bool,
    owners: Owners = WHOLE,
) -> Tensor:
    """BPR loss of a batch plus the L2 penalty of the rows that the batch reads, shape: [].

    The value is ``bpr_loss`` plus ``l2_penalty`` for users and items, with λ held fixed. The
    gradient is written by hand, because autograd would read the rows twice and write two tables
    for each side.

    Args:
        user_table: this process's user embeddings, shape: [own users, embedding_size]
        item_table: this process's item embeddings, shape: [own items, embedding_size]
        batch: the batch's rows and gradients, read from the tables in their present state.
        strengths: λ of the users that this process owns, shape: [held, 1 or embedding_size], and
            of its items, with the positive ones first; ``None`` for an unregularised side.
        sparse: whether the tables' gradients are sparse and hold only the rows of the batch.
        owners: the owners of the rows.
    """
    return _PenalisedBPR.apply(user_table, item_table, batch, strengths, sparse, owners)


class _PenalisedBPR(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        user_table: Tensor,
        item_table: Tensor,
        batch: RowGradients,
        strengths: tuple[Tensor | None, Tensor | None],
        sparse: bool,
        owners: Owners,
    ) -> Tensor:
        loss, size = batch.loss, len(batch.triples.users)
        ctx.sides, ctx.sparse = [], sparse
        users, items = batch.triples.sides
        for table, read, rows, gradient, strength, owner in (
            (user_table, users, batch.user_rows, batch.users, strengths[0], owners.user),
            (item_table, items, batch.item_rows, batch.items, strengths[1], owners.item),
        ):
            places, ids = owner.held(read)
            gradient = gradient[places]
            if strength is not None:
                rows = rows[places]
                pull = strength * rows
                loss = loss + owner.sum(torch.dot(pull.flatten(), rows.flatten())) / size
                gradient = torch.add(gradient, pull, alpha=2 / size, out=pull)
            ctx.sides.append((ids, gradient, table.shape))
        return loss if loss is not batch.loss else loss.clone()

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Tensor | None, ...]:
        tables = [_in_table(ids, rows * of_loss, n, ctx.sparse) for ids, rows, n in ctx.sides]
        return tables[0], tables[1], *[None] * 4


def _in_table(ids: Tensor, rows: Tensor, shape: torch.Size, sparse: bool) -> Tensor:
    """The gradient of a table from gradients of its rows; rows with the same id are added up."""
    if sparse:
        distinct, slots = ids.unique(return_inverse=True)
        summed = rows.new_zeros(len(distinct), shape[1]).index_add_(0, slots, rows)
        return torch.sparse_coo_tensor(
            distinct.unsqueeze(0), summed, shape, check_invariants=False, is_coalesced=True
        )
    return rows.new_zeros(shape).index_add_(0, ids, rows)
