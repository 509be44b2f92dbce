"""The training loss of matrix factorisation and its gradient, from one look at a batch's rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recbole_ext.functional.bpr import RowGradients


def penalised_bpr_loss(
    user_table: Tensor,
    item_table: Tensor,
    batch: RowGradients,
    strengths: tuple[Tensor | None, Tensor | None],
    sparse: bool,
) -> Tensor:
    """BPR loss of a batch plus the L2 penalty of the rows that it reads, shape: [].

    The same as ``bpr_loss`` plus ``l2_penalty`` of users and items, with λ held fixed; autograd
    would read the rows twice and write two tables for each side.

    Args:
        user_table: all user embeddings, shape: [n_users, embedding_size]
        item_table: all item embeddings, shape: [n_items, embedding_size]
        batch: read from these tables as they are.
        strengths: λ of its users, shape: [batch_size, 1 or embedding_size], and of its items,
            shape: [2 * batch_size, 1 or embedding_size]; ``None``: not regularised.
        sparse: whether the tables' gradients hold the rows of the batch only.
    """
    return _PenalisedBPR.apply(user_table, item_table, batch, strengths, sparse)


class _PenalisedBPR(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        user_table: Tensor,
        item_table: Tensor,
        batch: RowGradients,
        strengths: tuple[Tensor | None, Tensor | None],
        sparse: bool,
    ) -> Tensor:
        loss, size = batch.loss, len(batch.triples.users)
        ctx.sides, ctx.sparse = [], sparse
        for table, ids, rows, gradient, strength in (
            (user_table, batch.triples.users, batch.user_rows, batch.users, strengths[0]),
            (item_table, batch.triples.items, batch.item_rows, batch.items, strengths[1]),
        ):
            if strength is not None:
                pull = strength * rows
                loss = loss + torch.dot(pull.flatten(), rows.flatten()) / size
                gradient = torch.add(gradient, pull, alpha=2 / size, out=pull)
            ctx.sides.append((ids, gradient, table.shape))
        return loss if loss is not batch.loss else loss.clone()

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Tensor | None, ...]:
        tables = [_in_table(ids, rows * of_loss, n, ctx.sparse) for ids, rows, n in ctx.sides]
        return tables[0], tables[1], None, None, None


def _in_table(ids: Tensor, rows: Tensor, shape: torch.Size, sparse: bool) -> Tensor:
    """Rows of a table as the table's gradient; those of one id add up."""
    if sparse:
        distinct, slots = ids.unique(return_inverse=True)
        summed = rows.new_zeros(len(distinct), shape[1]).index_add_(0, slots, rows)
        return torch.sparse_coo_tensor(
            distinct.unsqueeze(0), summed, shape, check_invariants=False, is_coalesced=True
        )
    return rows.new_zeros(shape).index_add_(0, ids, rows)
