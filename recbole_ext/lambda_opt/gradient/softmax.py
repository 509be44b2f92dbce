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

from recbole_ext.lambda_opt.gradient.calibration import Derivatives
from recbole_ext.lambda_opt.gradient.scores import Scores
from recbole_ext.lambda_opt.gradient.user_batch import Factors, UserBatch

# How much the loss of a hit is about the best of a user's items: 0 stands for their likelihood,
# where all count alike, and 1 for the probability that the first item drawn is one of them.
FOCUS = 0.5


class SoftmaxRead(NamedTuple):
    """The loss of a batch and its derivatives.

    Attributes:
        batch: the batch.
        loss: the mean of ``l_u``, shape: []
        chance: the softmax of each user.
        residual: the derivative by the scores.
        user_rows: the users' embeddings, shape: [batch, embedding_size]
        gradients: by the users' rows, by all items and by all biases.
    """

    batch: UserBatch
    loss: Tensor
    chance: Scores
    residual: Scores
    user_rows: Tensor
    gradients: Factors


@torch.no_grad()
def softmax_gradients(factors: Factors, batch: UserBatch) -> SoftmaxRead:
    """The loss ``Σ l_u / divisor`` of a batch and its gradients."""
    users, scores = _scores(factors, batch)
    return _read(factors, users, scores)


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
    batch, users, residual = read.batch, read.user_rows, read.residual
    moved_users = direction.users.index_select(0, batch.users)
    pairs = torch.cat([users, moved_users], 1), torch.cat([direction.items, factors.items], 1)
    moved = Scores.of(batch, *pairs, direction.bias)
    mean = moved.each(torch.mul, read.chance).by_user()
    weights = moved.spread(batch.counts.to(mean) / batch.divisor)
    moved = moved.each(
        lambda value, of_user, chance, weight: value.sub_(of_user).mul_(chance).mul_(weight),
        moved.spread(mean),
        read.chance,
        weights,
    )
    return Factors(
        moved.times_items(factors.items).add_(residual.times_items(direction.items)),
        moved.times_users(users).add_(residual.times_users(moved_users)),
        moved.by_item(),
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
    users, scores = _scores(factors, batch)
    positive = (scores.of_pairs() * batch.times).sum()

    def derivatives(temperature: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = _moments(scores, temperature)
        return (mean * batch.counts).sum() - positive, (variance * batch.counts).sum()

    temperature = follow(derivatives).to(users)
    read = _read(factors, users, scores.each(lambda values: values.mul_(temperature)))
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
    users, scores = _scores(factors, batch)
    own = Scores.of_own(batch, scores.of_pairs() * FOCUS)

    def derivatives(temperature: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = _moments(scores, temperature)
        of_own, own_variance = _moments(own, temperature)
        first, second = mean - of_own / FOCUS, variance - own_variance / FOCUS
        return first.sum() / batch.whole, second.sum() / batch.whole

    temperature = follow(derivatives).to(users)
    total, residual = _scaled_softmax(scores, temperature)
    of_own, chance = _scaled_softmax(own, temperature)
    residual.add_to_pairs(-chance.of_pairs())
    scale = temperature / batch.whole
    residual = residual.each(lambda values: values.mul_(scale))
    return (total - of_own / FOCUS).sum() / batch.whole, _by_parameters(factors, users, residual)


def log_totals(scores: Scores) -> Tensor:
    """``logsumexp_j s_uj`` of each user, with drawn items for those not drawn; differentiable.

    Returns:
        Shape: [batch, 1]
    """
    scores = _with_offset(scores)
    largest = scores.largest().detach()
    return largest + scores.each(_exp_of_difference, scores.spread(largest)).by_user().log()


def _scores(factors: Factors, batch: UserBatch) -> tuple[Tensor, Scores]:
    """The users' rows and their scores."""
    users = factors.users.index_select(0, batch.users)
    scores = Scores.of(batch, users, factors.items, factors.bias)
    scores.bar()
    return users, scores


def _read(factors: Factors, users: Tensor, scores: Scores) -> SoftmaxRead:
    batch = scores.batch
    positive = (scores.of_pairs() * batch.times).sum()
    totals, chance = _softmax(_with_offset(scores))
    loss = (totals * batch.counts).sum() - positive
    weights = chance.spread(batch.counts.to(users) / batch.divisor)
    residual = chance.each(torch.mul, weights)
    residual.add_to_pairs(batch.times.to(users) / -batch.divisor)
    gradients = _by_parameters(factors, users, residual)
    return SoftmaxRead(batch, loss / batch.divisor, chance, residual, users, gradients)


def _by_parameters(factors: Factors, users: Tensor, residual: Scores) -> Factors:
    """The gradients of a loss with the given derivatives by the scores."""
    items = residual.times_items(factors.items), residual.times_users(users)
    return Factors(*items, residual.by_item())


def _scaled_softmax(scores: Scores, temperature: Tensor) -> tuple[Tensor, Scores]:
    return _softmax(_with_offset(scores.each(lambda values: values * temperature)))


def _softmax(scaled: Scores) -> tuple[Tensor, Scores]:
    """The log of each user's total, shape: [batch, 1], and the softmax, in place of the scores."""
    largest = scaled.largest()
    chance = scaled.each(lambda values, most: values.sub_(most).exp_(), scaled.spread(largest))
    total = chance.by_user()
    chance = chance.each(lambda values, of_user: values.div_(of_user), chance.spread(total))
    return largest + total.log(), chance


def _moments(scores: Scores, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the variance of scores under their softmax, two of shape: [batch, 1]."""
    _, chance = _scaled_softmax(scores, temperature.to(scores.columns))
    product = chance.each(lambda values, score: values.mul_(score), scores)
    mean = product.by_user()
    product = product.each(lambda values, score: values.mul_(score), scores)
    return mean, product.by_user() - mean.square()


def _with_offset(scores: Scores) -> Scores:
    """Scores plus the log weight of each column that was drawn."""
    candidates = scores.batch.candidates
    if candidates is None or not scores.columns.shape[1]:
        return scores
    return Scores(
        scores.batch, scores.columns + candidates.log_weight.to(scores.columns), scores.own
    )


def _exp_of_difference(values: Tensor, less: Tensor) -> Tensor:
    return (values - less).exp()
