"""The multinomial likelihood of each user's items under a softmax over all items.

The loss of a user with ``n_u`` items is ``l_u = n_u · logsumexp_j(s_uj) − Σ_{i∈N_u} s_ui`` with the
scores ``s_uj = θ_u·θ_j + b_j``. All derivatives are in closed form. A batch with candidates has
only these items, which stand for all (see ``candidates.py``).

Reference:
    Liang et al. "Variational Autoencoders for Collaborative Filtering." WWW 2018 (the likelihood).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_ext.lambda_opt.gradient.calibration import Derivatives, softmax_moments
from recbole_ext.lambda_opt.gradient.candidates import Candidates

# How much the loss of a hit is about the best of a user's items: 0 stands for their likelihood,
# where all count alike, and 1 for the probability that the first item drawn is one of them.
FOCUS = 0.5


class UserBatch(NamedTuple):
    """Some users with all their items.

    Attributes:
        users: internal user ids, shape: [batch]
        rows: the position in ``users`` of each interaction, ascending, shape: [interactions]
        items: the internal item id of each interaction, or its position among the candidates,
            shape: [interactions]
        counts: number of interactions of each user, shape: [batch, 1]
        barred: positions in ``users`` and items that are no candidates, two of shape: [pairs];
            an item of the user's own stays a candidate.
        divisor: the loss is divided by it.
        candidates: the items of the batch; ``None``: all items.
    """

    users: Tensor
    rows: Tensor
    items: Tensor
    counts: Tensor
    barred: tuple[Tensor, Tensor] | None
    divisor: float
    candidates: Candidates | None = None

    def to(self, device: torch.device) -> UserBatch:
        """The batch on a device, where RecBole's loop sends it."""
        users, rows, items, counts = (part.to(device) for part in self[:4])
        barred = self.barred and (self.barred[0].to(device), self.barred[1].to(device))
        candidates = self.candidates and self.candidates.to(device)
        return UserBatch(users, rows, items, counts, barred, self.divisor, candidates)


class Factors(NamedTuple):
    """The parameters of a matrix factorisation with item biases, or their derivatives.

    Attributes:
        users: user embeddings, shape: [n_users, embedding_size]
        items: item embeddings, shape: [n_items, embedding_size]
        bias: item biases, shape: [n_items]
    """

    users: Tensor
    items: Tensor
    bias: Tensor


class SoftmaxRead(NamedTuple):
    """The loss of a batch and its derivatives.

    Attributes:
        batch: the batch.
        loss: the mean of ``l_u``, shape: []
        chance: the softmax of each user, shape: [batch, n_items]
        residual: the derivative by the scores, shape: [batch, n_items]
        user_rows: the users' embeddings, shape: [batch, embedding_size]
        gradients: by the users' rows, by all items and by all biases.
    """

    batch: UserBatch
    loss: Tensor
    chance: Tensor
    residual: Tensor
    user_rows: Tensor
    gradients: Factors


@torch.no_grad()
def softmax_gradients(factors: Factors, batch: UserBatch) -> SoftmaxRead:
    """The loss ``Σ l_u / divisor`` of a batch and its gradients."""
    users, scores, offset = _scores(factors, batch)
    return _read(factors, batch, users, scores, offset)


@torch.no_grad()
def softmax_tangents(factors: Factors, read: SoftmaxRead, direction: Factors) -> Factors:
    """The directional derivative of the gradients of :func:`softmax_gradients`.

    Args:
        factors: the parameters.
        read: the batch, read at these parameters.
        direction: the change of the parameters, in their shapes.

    Returns:
        The change of the gradients by the users' rows, by all items and by all biases.
    """
    batch, users = read.batch, read.user_rows
    moved_users = direction.users.index_select(0, batch.users)
    moved = torch.addmm(direction.bias, users, direction.items.T).addmm_(
        moved_users, factors.items.T
    )
    moved.sub_((read.chance * moved).sum(1, keepdim=True)).mul_(read.chance)
    moved.mul_(batch.counts / batch.divisor)
    return Factors(
        torch.addmm(moved @ factors.items, read.residual, direction.items),
        torch.addmm(moved.T @ users, read.residual.T, moved_users),
        moved.sum(0),
    )


@torch.no_grad()
def calibrated_gradients(
    factors: Factors, batch: UserBatch, follow: Callable[[Derivatives], Tensor]
) -> tuple[Tensor, Factors]:
    """The loss of scores times a temperature, and its gradients by the parameters.

    Args:
        factors: the parameters.
        batch: the batch.
        follow: returns the temperature, given the derivatives of the loss by it.

    Returns:
        The loss, shape: [], and its gradients by the users' rows, all items and all biases.
    """
    users, scores, offset = _scores(factors, batch)
    positive = scores[batch.rows, batch.items].sum()
    finite = scores.masked_fill(scores == -torch.inf, 0.0)

    def derivatives(temperature: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = softmax_moments(scores, finite, temperature, offset)
        return (mean * batch.counts).sum() - positive, (variance * batch.counts).sum()

    temperature = follow(derivatives).to(scores)
    read = _read(factors, batch, users, scores.mul_(temperature), offset)
    return read.loss, Factors(*(gradient.mul_(temperature) for gradient in read.gradients))


@torch.no_grad()
def hit_gradients(
    factors: Factors, batch: UserBatch, follow: Callable[[Derivatives], Tensor]
) -> tuple[Tensor, Factors]:
    """The calibrated loss of a hit, and its gradients by the parameters.

    With ``p = softmax(τ · s_u)`` the loss is ``mean_u −(1/α) ln Σ_{i∈N_u} p_i^α``. For ``α = 1`` it
    is ``−ln P(the first item drawn is one of the user's)``, for ``α → 0`` the mean of ``−ln p_i``.
    Unlike the likelihood it weighs users alike, as the mean of a metric does, and it is more about
    the top of the list.

    Args:
        factors: the parameters.
        batch: the batch.
        follow: returns the temperature, given the derivatives of the loss by it.

    Returns:
        The loss, shape: [], and its gradients by the users' rows, all items and all biases.
    """
    users, scores, offset = _scores(factors, batch)
    own = torch.full_like(scores, -torch.inf)
    own[batch.rows, batch.items] = scores[batch.rows, batch.items]
    finite, own_finite = (part.masked_fill(part == -torch.inf, 0.0) for part in (scores, own))

    def derivatives(temperature: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = softmax_moments(scores, finite, temperature, offset)
        of_own, own_variance = softmax_moments(own, own_finite, FOCUS * temperature, 0.0)
        return (mean - of_own).mean(), (variance - FOCUS * own_variance).mean()

    temperature = follow(derivatives).to(scores)
    size = len(batch.users)
    scaled = (scores * temperature).add_(offset)
    total = scaled.logsumexp(1, keepdim=True)
    of_own = (own * (FOCUS * temperature)).logsumexp(1, keepdim=True)
    residual = scaled.sub_(total).exp_()
    residual.sub_((own * (FOCUS * temperature) - of_own).exp_()).mul_(temperature / size)
    gradients = Factors(residual @ factors.items, residual.T @ users, residual.sum(0))
    return (total - of_own / FOCUS).mean(), gradients


def rows_of_batch(factors: Factors, batch: UserBatch) -> tuple[Factors, UserBatch]:
    """The rows that a batch with candidates needs, and the batch among them; differentiable."""
    if batch.candidates is None:
        return factors, batch
    items = batch.candidates.items
    rows = (part.index_select(0, items) for part in factors[1:])
    within = torch.arange(len(batch.users), device=batch.users.device)
    return Factors(factors.users.index_select(0, batch.users), *rows), batch._replace(users=within)


def offsets(batch: UserBatch, candidates: Candidates, dtype: torch.dtype) -> Tensor:
    """The log weight of each candidate for each user, 0 for the own, shape: [batch, candidates]."""
    weights = candidates.log_weight.to(dtype).repeat(len(batch.users), 1)
    weights[batch.rows, batch.items] = 0.0
    return weights


def _scores(factors: Factors, batch: UserBatch) -> tuple[Tensor, Tensor, Tensor | float]:
    """The users' rows, the scores of all items, and what is added to them in the softmax.

    The scores are −∞ for items that are barred.
    """
    users = factors.users.index_select(0, batch.users)
    scores = torch.addmm(factors.bias, users, factors.items.T)
    own = scores[batch.rows, batch.items]
    offset: Tensor | float = 0.0
    if batch.candidates is None:
        scores[:, 0] = -torch.inf  # RecBole's padding item
    else:
        offset = offsets(batch, batch.candidates, scores.dtype)
    if batch.barred is not None:
        scores[batch.barred] = -torch.inf
        scores[batch.rows, batch.items] = own
    return users, scores, offset


def _read(
    factors: Factors, batch: UserBatch, users: Tensor, scores: Tensor, offset: Tensor | float
) -> SoftmaxRead:
    positive = scores[batch.rows, batch.items].sum()
    scores.add_(offset)
    largest = scores.amax(1, keepdim=True)
    chance = torch.sub(scores, largest, out=scores).exp_()
    total = chance.sum(1, keepdim=True)
    loss = ((largest + total.log()) * batch.counts).sum() - positive
    chance.div_(total)
    residual = chance * (batch.counts / batch.divisor)
    less = residual.new_full((len(batch.rows),), -1 / batch.divisor)
    residual.index_put_((batch.rows, batch.items), less, accumulate=True)
    gradients = Factors(residual @ factors.items, residual.T @ users, residual.sum(0))
    return SoftmaxRead(batch, loss / batch.divisor, chance, residual, users, gradients)
