"""How the validation loss answers to λ through one look-ahead step, in closed form.

The look-ahead steps each row with the gradient ``g = ∂l_T/∂Θ + 2·s·λ ⊙ Θ`` (``s``: the row's share
in the penalty), so that by the chain rule, everything elementwise,

    ∂l_V/∂λ = ∂l_V/∂Θ̄ ⊙ ∂f/∂g ⊙ 2·s·Θ,      Θ̄ = f(Θ, g).

Only rows that the validation batch reads have ``∂l_V/∂Θ̄ ≠ 0``: the cost follows the batches, not
the tables.

Reference:
    Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from recbole_ext.functional.bpr import Triples, bpr_loss, bpr_row_gradients
from recbole_ext.functional.lookahead import lookahead_rows
from recbole_ext.functional.penalty import batch_shares


class Side(NamedTuple):
    """Users or items, as the look-ahead sees them.

    Attributes:
        table: embeddings, shape: [n_rows, embedding_size]
        strength: gives λ of some rows, shape: [rows, 1 or embedding_size]
        shares: each row's share in the look-ahead's penalty, shape: [n_rows];
            ``None`` takes its share in the training batch.
    """

    table: Tensor
    strength: Callable[[Tensor], Tensor]
    shares: Tensor | None


class Lookahead(NamedTuple):
    """Rows after the look-ahead step.

    Attributes:
        rows: new embeddings ``Θ̄``, shape: [rows, embedding_size]
        slope: ``∂Θ̄/∂λ``, shape: [rows, embedding_size]
        strength: λ of these rows, still connected to its table, shape: [rows, 1 or embedding_size]
    """

    rows: Tensor
    slope: Tensor
    strength: Tensor


def lookahead(
    side: Side, optimizer: Optimizer, ids: Tensor, batch: Tensor, gradients: Tensor, batch_size: int
) -> Lookahead:
    """Step the rows that a validation batch reads with the gradient of a training batch.

    Args:
        side: users or items.
        optimizer: the model's own optimiser; it is only read.
        ids: distinct rows, ascending, shape: [rows]
        batch: rows that the training batch reads, shape: [occurrences]
        gradients: the fit gradient of each occurrence, shape: [occurrences, embedding_size]
        batch_size: number of triples in the training batch.
    """
    slots = torch.searchsorted(ids, batch).clamp(max=len(ids) - 1)
    common = ids[slots] == batch
    slots = slots[common]
    before = side.table.detach()[ids]
    fit = torch.zeros_like(before).index_add_(0, slots, gradients[common])
    in_batch = batch_shares(slots, len(ids), batch_size)
    shares = in_batch if side.shares is None else side.shares[ids]
    scale = 2 * shares.to(before.dtype).unsqueeze(-1) * before
    strength = side.strength(ids)
    touched = (in_batch > 0) | (shares > 0)
    step = lookahead_rows(optimizer, side.table, ids, fit + strength.detach() * scale, touched)
    return Lookahead(step.updated, step.slope * scale, strength)


def analytic_hypergradient(
    user: Side, item: Side, optimizer: Optimizer, train: Triples, valid: Triples
) -> Tensor:
    """Add the gradient of the validation loss with respect to λ to the λ tables' ``grad``.

    Args:
        user: the users' side.
        item: the items' side.
        optimizer: the model's own optimiser; it is only read.
        train: the batch of the look-ahead step.
        valid: the batch of the validation loss.

    Returns:
        The validation loss after the look-ahead, shape: []
    """
    user_ids, user_slots = valid.users.unique(return_inverse=True)
    item_ids, item_slots = valid.items.unique(return_inverse=True)
    for_user, for_positive, for_negative = bpr_row_gradients(user.table, item.table, train)
    size = len(train.users)
    users = lookahead(user, optimizer, user_ids, train.users, for_user, size)
    item_gradients = torch.cat([for_positive, for_negative])
    items = lookahead(item, optimizer, item_ids, train.items, item_gradients, size)

    with torch.enable_grad():
        ahead = [side.rows.requires_grad_() for side in (users, items)]
        positive, negative = item_slots.chunk(2)
        loss = bpr_loss(ahead[0][user_slots], ahead[1][positive], ahead[1][negative])
        outer = torch.autograd.grad(loss, ahead)
    # λ's own lookup sums these to its shape: over rows that share a λ, and over dimensions.
    for side, gradient in zip((users, items), outer, strict=True):
        if side.strength.requires_grad:
            side.strength.backward((gradient * side.slope).sum_to_size(side.strength.shape))
    return loss.detach()
