"""How the validation loss answers to λ through one look-ahead step, in closed form.

The look-ahead steps each row with the gradient ``g = ∂l_T/∂Θ + 2·s·λ ⊙ Θ`` (``s``: the row's share
in the penalty), so that by the chain rule, everything elementwise,

    ∂l_V/∂λ = ∂l_V/∂Θ̄ ⊙ ∂f/∂g ⊙ 2·s·Θ,      Θ̄ = f(Θ, g).

For matrix factorisation only rows that the validation batch reads have ``∂l_V/∂Θ̄ ≠ 0``: the cost of
:func:`analytic_hypergradient` follows the batches, not the tables. In a model that mixes rows (a
graph network) every row may matter: :func:`dense_hypergradient`.

Reference:
    Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from recbole_ext.functional.bpr import Triples, bpr_loss, bpr_row_gradients
from recbole_ext.functional.lookahead import lookahead_rows
from recbole_ext.functional.penalty import batch_shares

Loss: TypeAlias = Callable[[dict[str, Tensor], Triples], Tensor]


class Side(NamedTuple):
    """Users or items, as the look-ahead sees them.

    Attributes:
        table: embeddings, shape: [n_rows, embedding_size]
        strength: gives λ of some rows (``slice(None)``: of all), shape: [rows, 1 or embedding_size]
        shares: each row's share in the look-ahead's penalty, shape: [n_rows];
            ``None`` takes its share in the training batch.
    """

    table: Tensor
    strength: Callable[[Tensor | slice], Tensor]
    shares: Tensor | None


class Lookahead(NamedTuple):
    """Rows after the look-ahead step.

    Attributes:
        rows: new embeddings ``Θ̄``, a leaf of the graph, shape: [rows, embedding_size]
        slope: ``∂Θ̄/∂λ``, shape: [rows, embedding_size]
        strength: λ of these rows, still connected to its table, shape: [rows, 1 or embedding_size]
    """

    rows: Tensor
    slope: Tensor
    strength: Tensor


def lookahead(
    side: Side, optimizer: Optimizer, ids: Tensor | slice, fit: Tensor, in_batch: Tensor
) -> Lookahead:
    """Step rows with the gradient of a training batch and of the penalty.

    Args:
        side: users or items.
        optimizer: the model's own optimiser; it is only read.
        ids: distinct rows, shape: [rows]; ``slice(None)`` for all of them.
        fit: gradient of the training loss without the penalty, shape: [rows, embedding_size]
        in_batch: each row's share in the training batch, shape: [rows]
    """
    shares = in_batch if side.shares is None else side.shares[ids]
    scale = 2 * shares.to(fit.dtype).unsqueeze(-1) * side.table.detach()[ids]
    strength = side.strength(ids)
    touched = (in_batch > 0) | (shares > 0)
    step = lookahead_rows(optimizer, side.table, ids, fit + strength.detach() * scale, touched)
    return Lookahead(step.updated.requires_grad_(), step.slope * scale, strength)


def analytic_hypergradient(
    user: Side, item: Side, optimizer: Optimizer, train: Triples, valid: Triples
) -> Tensor:
    """Add the gradient of the validation loss with respect to λ to the λ tables' ``grad``.

    For matrix factorisation, where ``l_T`` and ``l_V`` are the BPR loss.

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
    for_item = torch.cat([for_positive, for_negative])
    users = lookahead(user, optimizer, user_ids, *_in_rows(user_ids, train.users, for_user, train))
    items = lookahead(item, optimizer, item_ids, *_in_rows(item_ids, train.items, for_item, train))
    positive, negative = item_slots.chunk(2)
    with torch.enable_grad():
        loss = bpr_loss(users.rows[user_slots], items.rows[positive], items.rows[negative])
    _differentiate(loss, (users, items))
    return loss.detach()


def _in_rows(ids: Tensor, read: Tensor, gradients: Tensor, batch: Triples) -> tuple[Tensor, Tensor]:
    """Sum the gradients of a batch's occurrences into some rows; and the rows' shares in it."""
    slots = torch.searchsorted(ids, read).clamp(max=len(ids) - 1)
    common = ids[slots] == read
    slots = slots[common]
    summed = gradients.new_zeros(len(ids), gradients.shape[1])
    summed.index_add_(0, slots, gradients[common])
    return summed, batch_shares(slots, len(ids), len(batch.users))


def dense_hypergradient(
    user: Side,
    item: Side,
    optimizer: Optimizer,
    parameters: dict[str, Tensor],
    losses: tuple[Loss, Loss],
    train: Triples,
    valid: Triples,
) -> Tensor:
    """As :func:`analytic_hypergradient`, for any model: two forward and backward passes.

    Args:
        user: the users' side; its table is one of the parameters.
        item: the items' side; its table is one of the parameters.
        optimizer: the model's own optimiser (Adam or SGD); it is only read.
        parameters: all that the optimiser trains, by name.
        losses: ``l_T`` without the penalty, and ``l_V``; each from parameters by name and a batch.
        train: the batch of the look-ahead step.
        valid: the batch of the validation loss.

    Returns:
        The validation loss after the look-ahead, shape: []
    """
    fit_loss, valid_loss = losses
    with torch.enable_grad():
        loss = fit_loss(parameters, train)
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    whole = slice(None)
    sides: list[Lookahead] = []
    ahead: dict[str, Tensor] = {}
    for (name, table), gradient in zip(parameters.items(), gradients, strict=True):
        for side, read in ((user, train.users), (item, train.items)):
            if table is side.table:
                fit = torch.zeros_like(table) if gradient is None else gradient
                in_batch = batch_shares(read, len(table), len(train.users))
                sides.append(lookahead(side, optimizer, whole, fit, in_batch))
                ahead[name] = sides[-1].rows
        if name not in ahead:
            untouched = gradient is None  # as the optimiser leaves it
            step = None if untouched else lookahead_rows(optimizer, table, whole, gradient)
            ahead[name] = table.detach() if step is None else step.updated
    with torch.enable_grad():
        loss = valid_loss(ahead, valid)
    _differentiate(loss, sides)
    return loss.detach()


def _differentiate(loss: Tensor, sides: Sequence[Lookahead]) -> None:
    """Take ``∂l_V/∂Θ̄`` on to the λ tables' ``grad``."""
    outer = torch.autograd.grad(loss, [side.rows for side in sides])
    # λ's own lookup sums these to its shape: over rows that share a λ, and over dimensions.
    for side, gradient in zip(sides, outer, strict=True):
        if side.strength.requires_grad:
            side.strength.backward((gradient * side.slope).sum_to_size(side.strength.shape))
