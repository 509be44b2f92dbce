"""The place of a new user among those that a model was trained on, from ratings alone.

A general model gives each of its users a row of scores. The principal components of these rows
serve as axes of taste. Along them the training users are spread around 0, which gives a normal
prior for a new user. A few ratings then determine the user's most likely place. For matrix
factorisation the axes span the same space as the item embeddings, so that nothing is lost; for
other models they are the best approximation with that number of axes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

NEWTON_STEPS = 8
HALVINGS = 8


class TasteSpace(NamedTuple):
    """Principal components of a model's scores.

    Attributes:
        mean: the mean score of each item over the users, shape: [n_items]
        axes: the principal components, shape: [n_items, rank]
        variance: the variance of the users along each axis, shape: [rank]
    """

    mean: Tensor
    axes: Tensor
    variance: Tensor

    def scores(self, places: Tensor) -> Tensor:
        """Scores of all items, shape: [users, n_items], for places of shape [users, rank]."""
        return self.mean + places @ self.axes.mT


def taste_space(scores: Tensor, rank: int) -> TasteSpace:
    """The space of a model's scores.

    Args:
        scores: the scores of the model's users, shape: [users, n_items]
        rank: the maximum number of axes.
    """
    mean = scores.mean(0)
    rank = min(rank, *scores.shape)
    extra = min(rank + 8, *scores.shape)
    _, lengths, axes = torch.svd_lowrank(scores - mean, q=extra, niter=4)
    variance = lengths[:rank].square() / len(scores)
    kept = variance > 1e-10 * variance[0].clamp(min=1e-30)
    return TasteSpace(mean, axes[:, :rank][:, kept], variance[kept])


def place_by_ratings(
    space: TasteSpace, items: Tensor, ratings: Tensor, mask: Tensor, noise: float
) -> Tensor:
    """The most likely places given ratings with normal errors, by exact ridge regressions.

    Args:
        space: the space of the model.
        items: the rated items, shape: [users, ratings]
        ratings: the ratings on the scale of the scores, shape: [users, ratings]
        mask: 1 for a rating, 0 for padding, shape: [users, ratings]
        noise: the variance of a rating around its score.

    Returns:
        The places, shape: [users, rank]
    """
    rows = space.axes[items] * mask.unsqueeze(-1)  # [users, ratings, rank]
    rest = (ratings - space.mean[items]) * mask
    gram = rows.mT @ rows / noise + torch.diag(1 / space.variance)
    return torch.linalg.solve(gram, (rows.mT @ rest.unsqueeze(-1)).squeeze(-1) / noise)


def place_by_choices(space: TasteSpace, items: Tensor, mask: Tensor, others: Tensor) -> Tensor:
    """The most likely places given the chosen items, by BPR of these items over others.

    Newton's method maximises ``Σ_i mean_j ln σ(s_i − s_j) − Σ_k c_k² / 2·variance_k``, which has
    one optimum.

    Args:
        space: the space of the model.
        items: the chosen items, shape: [users, choices]
        mask: 1 for a choice, 0 for padding, shape: [users, choices]
        others: a sample of all items, shape: [others]

    Returns:
        The places, shape: [users, rank]
    """
    places = space.axes.new_zeros(len(items), space.axes.shape[1])
    for user in range(len(items)):  # one by one, as a user's Hessian needs all pairs
        chosen = items[user][mask[user] > 0]
        rest = others[~torch.isin(others, chosen)]
        if len(chosen) and len(rest):
            places[user] = _newton(space, chosen, rest)
    return places


def place_by_softmax(space: TasteSpace, items: Tensor, mask: Tensor) -> Tensor:
    """The most likely places given the chosen items, by a softmax over all items.

    Newton's method maximises ``Σ_i ln softmax_i(s) − Σ_k c_k² / 2·variance_k``, which has one
    optimum. Item 0 is padding and takes no part.

    Args:
        space: the space of the model.
        items: the chosen items, shape: [users, choices]
        mask: 1 for a choice, 0 for padding, shape: [users, choices]

    Returns:
        The places, shape: [users, rank]
    """
    mean, axes, precision = space.mean[1:], space.axes[1:], 1 / space.variance
    wanted = (space.axes[items] * mask.unsqueeze(-1)).sum(1)
    count = mask.sum(-1, keepdim=True)
    places = axes.new_zeros(len(items), axes.shape[1])

    def objective(at: Tensor) -> Tensor:
        total = (mean + at @ axes.mT).logsumexp(-1) * count.squeeze(-1)
        return total - (wanted * at).sum(-1) + (precision * at.square()).sum(-1) / 2

    loss = objective(places)
    for _ in range(NEWTON_STEPS):
        chances = (mean + places @ axes.mT).softmax(-1)
        expected = chances @ axes
        slope = count * expected - wanted + precision * places
        spread = torch.stack([(axes.mT * chance) @ axes for chance in chances])
        spread = spread - expected.unsqueeze(-1) * expected.unsqueeze(-2)
        hessian = count.unsqueeze(-1) * spread + torch.diag(precision)
        step = torch.linalg.solve(hessian, slope)
        rate = torch.ones_like(count)
        for _ in range(HALVINGS):  # halve a user's step until the loss does not rise
            after = objective(places - rate * step)
            rate = torch.where((after <= loss).unsqueeze(-1), rate, rate / 2)
        moved = places - rate * step
        after = objective(moved)
        places = torch.where((after <= loss).unsqueeze(-1), moved, places)
        loss = torch.minimum(loss, after)
    return places


def _newton(space: TasteSpace, chosen: Tensor, rest: Tensor) -> Tensor:
    place = space.axes.new_zeros(space.axes.shape[1])
    precision = 1 / space.variance
    positive, negative = space.axes[chosen], space.axes[rest]

    def objective(at: Tensor) -> tuple[Tensor, Tensor]:
        margin = (space.mean[chosen] + positive @ at).unsqueeze(-1)
        margin = margin - (space.mean[rest] + negative @ at)
        loss = -F.logsigmoid(margin).mean(-1).sum() + (precision * at.square()).sum() / 2
        return loss, margin

    loss, margin = objective(place)
    for _ in range(NEWTON_STEPS):
        below = torch.sigmoid(-margin) / len(rest)  # [chosen, rest]
        weight = below * torch.sigmoid(margin)
        slope = precision * place - below.sum(1) @ positive + below.sum(0) @ negative
        cross = positive.mT @ weight @ negative
        hessian = (positive.mT * weight.sum(1)) @ positive + (
            negative.mT * weight.sum(0)
        ) @ negative
        step = torch.linalg.solve(hessian - cross - cross.mT + torch.diag(precision), slope)
        rate = 1.0
        while rate > 1e-4:  # halve the step until the loss decreases
            moved, after = objective(place - rate * step)
            if moved <= loss:
                break
            rate /= 2
        place, loss, margin = place - rate * step, moved, after
    return place
