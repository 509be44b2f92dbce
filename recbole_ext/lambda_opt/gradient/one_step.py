"""The gradient of the validation loss with respect to λ through one look-ahead step.

The look-ahead updates each row with the gradient ``g = ∂l_T/∂Θ + 2·s·λ ⊙ Θ``, where ``s`` is the
row's share in the penalty. The optimiser's step is ``Θ̄ = f(Θ, g)``. As ``f`` is elementwise, the
chain rule gives

    ∂l_V/∂λ = ∂l_V/∂Θ̄ ⊙ ∂f/∂g ⊙ 2·s·Θ.

In matrix factorisation ``∂l_V/∂Θ̄`` is 0 except in the rows that the validation batch reads. The
cost of :func:`analytic_hypergradient` therefore grows with the batches, not with the tables. A
graph network mixes rows, so that ``∂l_V/∂Θ̄`` may differ from 0 in every row;
:func:`dense_hypergradient` is for such models.

Reference:
    Chen et al. "λOpt: Learn to Regularize Recommender Models in Finer Levels." KDD 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from recbole_ext.lambda_opt.gradient.bpr import RowGradients, Triples, shared_row_gradients
from recbole_ext.lambda_opt.gradient.optimizer_step import lookahead_rows, rows_of
from recbole_ext.lambda_opt.gradient.owners import WHOLE, Held, RowOwner
from recbole_ext.lambda_opt.gradient.penalty import batch_shares
from recbole_ext.lambda_opt.lambda_network import LambdaNetwork
from recbole_ext.processes.shares import same_draws, share_of, sum_shares

Loss: TypeAlias = Callable[[dict[str, Tensor], Triples], Tensor]


class Side(NamedTuple):
    """What the look-ahead needs of one side, the users or the items.

    Attributes:
        name: ``"user"`` or ``"item"``.
        table: this process's embeddings, shape: [own rows, embedding_size]
        network: the network that holds λ and receives its gradient.
        shares: each own row's share in the look-ahead's penalty, shape: [own rows];
            ``None`` stands for the share in the training batch.
        owner: the owner of the rows.
    """

    name: str
    table: Tensor
    network: LambdaNetwork
    shares: Tensor | None
    owner: RowOwner = WHOLE.user


class Lookahead(NamedTuple):
    """Rows after the look-ahead step.

    Attributes:
        rows: new embeddings ``Θ̄``, shape: [rows, embedding_size]
        slope: ``∂Θ̄/∂λ``, shape: [rows, embedding_size]
    """

    rows: Tensor
    slope: Tensor


def lookahead(
    side: Side, optimizer: Optimizer, ids: Tensor | slice, fit: Tensor, in_batch: Tensor
) -> Lookahead:
    """Update some rows with the gradient of a training batch and of the penalty.

    Args:
        side: users or items.
        optimizer: the model's own optimiser; it is only read.
        ids: distinct own rows, shape: [rows]; ``slice(None)`` for all of them.
        fit: gradient of the training loss without the penalty, shape: [rows, embedding_size]
        in_batch: each row's share in the training batch, shape: [rows]
    """
    shares = in_batch if side.shares is None else side.shares[ids]
    rows = rows_of(side.table, ids)
    scale = rows * (2 * shares.to(fit.dtype)).unsqueeze(-1)
    strength = side.network.fixed(side.name, ids)
    gradient = fit if strength is None else torch.addcmul(fit, strength, scale)
    touched = (in_batch > 0) | (shares > 0)
    step = lookahead_rows(optimizer, side.table, ids, rows, gradient, touched)
    return Lookahead(step.updated, scale.mul_(step.slope))


def analytic_hypergradient(
    user: Side, item: Side, optimizer: Optimizer, train: RowGradients, valid: Triples
) -> Tensor:
    """Add the gradient of the validation loss with respect to λ to the λ tables' ``grad``.

    The function is for matrix factorisation, where ``l_T`` and ``l_V`` are the BPR loss.

    Args:
        user: the users' side.
        item: the items' side.
        optimizer: the model's own optimiser; it is only read.
        train: the batch of the look-ahead step, with its rows and gradients.
        valid: the batch of the validation loss.

    Returns:
        The validation loss after the look-ahead, shape: []
    """
    user_ids, user_slots = valid.users.unique(return_inverse=True)
    item_ids, item_slots = valid.items.unique(return_inverse=True)
    batch = train.triples
    users = _ahead(user, optimizer, user_ids, batch.users, train.users, len(train.users))
    items = _ahead(item, optimizer, item_ids, batch.items, train.items, len(train.users))
    slots = Triples(user_slots, *item_slots.chunk(2))
    ahead = shared_row_gradients(users.rows, items.rows, slots)
    outer = torch.zeros_like(users.rows).index_add_(0, user_slots, ahead.users)
    _add_gradient(user, users, outer)
    outer = torch.zeros_like(items.rows).index_add_(0, item_slots, ahead.items)
    _add_gradient(item, items, outer)
    return ahead.loss


class _Ahead(NamedTuple):
    """The rows of a batch after the look-ahead step, in all processes, and this one's slopes."""

    rows: Tensor
    held: Held
    slope: Tensor


def _ahead(
    side: Side, optimizer: Optimizer, ids: Tensor, read: Tensor, gradients: Tensor, size: int
) -> _Ahead:
    """Each process takes the step of the rows that it owns."""
    fit, in_batch = _in_rows(ids, read, gradients, size)
    held = side.owner.held(ids)
    step = lookahead(side, optimizer, held.rows, fit[held.places], in_batch[held.places])
    return _Ahead(side.owner.complete(step.rows, ids), held, step.slope)


def _add_gradient(side: Side, ahead: _Ahead, outer: Tensor) -> None:
    found = outer[ahead.held.places].mul_(ahead.slope)
    side.network.add_gradient(side.name, ahead.held.rows, found, side.owner.sum)


def _in_rows(ids: Tensor, read: Tensor, gradients: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The summed gradients of a batch in the rows ``ids``, and these rows' shares in the batch."""
    slots = torch.searchsorted(ids, read)
    common = ids[slots.clamp(max=len(ids) - 1)] == read
    slots = torch.where(common, slots, len(ids))  # all other rows share one extra slot
    summed = gradients.new_zeros(len(ids) + 1, gradients.shape[1]).index_add_(0, slots, gradients)
    return summed[:-1], batch_shares(slots, len(ids) + 1, size)[:-1]


def dense_hypergradient(
    user: Side,
    item: Side,
    optimizer: Optimizer,
    parameters: dict[str, Tensor],
    losses: tuple[Loss, Loss],
    train: Triples,
    valid: Triples,
) -> Tensor:
    """The same gradient as :func:`analytic_hypergradient`, for any model.

    It takes two forward and backward passes of the model.

    Args:
        user: the users' side; its table is one of the parameters.
        item: the items' side; its table is one of the parameters.
        optimizer: the model's own optimiser (Adam or SGD); it is only read.
        parameters: all parameters that the optimiser trains, by name.
        losses: ``l_T`` without the penalty, and ``l_V``; each takes parameters by name and a batch.
        train: the batch of the look-ahead step.
        valid: the batch of the validation loss.

    Returns:
        The validation loss after the look-ahead, shape: []
    """
    fit_loss, valid_loss = losses
    gradients = _shared_gradients(fit_loss, parameters, train, list(parameters.values()))[1]
    whole = slice(None)
    stepped: list[tuple[Side, Lookahead]] = []
    ahead: dict[str, Tensor] = {}
    for (name, table), gradient in zip(parameters.items(), gradients, strict=True):
        for side, read in ((user, train.users), (item, train.items)):
            if table is side.table:
                fit = torch.zeros_like(table) if gradient is None else gradient
                in_batch = batch_shares(read, len(table), len(train.users))
                step = lookahead(side, optimizer, whole, fit, in_batch)
                stepped.append((side, step))
                ahead[name] = step.rows.requires_grad_()
        if name not in ahead:
            rows = table.detach()
            ahead[name] = (
                rows
                if gradient is None
                else lookahead_rows(optimizer, table, whole, rows, gradient).updated
            )
    loss, outer = _shared_gradients(valid_loss, ahead, valid, [step.rows for _, step in stepped])
    for (side, step), gradient in zip(stepped, outer, strict=True):
        assert gradient is not None
        side.network.add_gradient(side.name, whole, gradient * step.slope)
    return loss


def _shared_gradients(
    loss_of: Loss, parameters: dict[str, Tensor], batch: Triples, leaves: list[Tensor]
) -> tuple[Tensor, list[Tensor | None]]:
    """A loss and its gradients, summed over all shares of a batch; ``None`` where unused."""
    share = share_of(len(batch.users))
    with torch.enable_grad(), same_draws():
        loss = loss_of(parameters, batch.part(share)) * share.weight
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
    used = [at for at, gradient in enumerate(found) if gradient is not None]
    summed = sum_shares([loss.detach(), *(g for g in found if g is not None)], share)
    gradients: list[Tensor | None] = [None] * len(leaves)
    for at, gradient in zip(used, summed[1:], strict=True):
        gradients[at] = gradient
    return summed[0], gradients
