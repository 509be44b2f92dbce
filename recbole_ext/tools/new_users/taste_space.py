"""Where a new user lies among those that a model was trained on, from ratings alone.

Any general model gives each of its users a row of scores. The rows' principal components are axes
of taste, and the training users a cloud around 0 in them: a normal prior for somebody new. Under it
a few ratings have a most likely place. For matrix factorisation the axes are the model's own
embeddings, turned, so that nothing is lost; for other models they are the best of that number.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

NEWTON_STEPS = 8


class TasteSpace(NamedTuple):
    """Principal components of a model's scores.

    Attributes:
        mean: score of each item, over users, shape: [n_items]
        axes: shape: [n_items, rank]
        variance: of the users along each axis, shape: [rank]
    """

    mean: Tensor
    axes: Tensor
    variance: Tensor

    def scores(self, places: Tensor) -> Tensor:
        """Scores of all items, shape: [users, n_items], for places of shape [users, rank]."""
        return self.mean + places @ self.axes.mT


def taste_space(scores: Tensor, rank: int) -> TasteSpace:
    """The space of a model.

    Args:
        scores: of its users, shape: [users, n_items]
        rank: number of axes, at most.
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
    """The most likely places given ratings with normal errors: ridge regressions, exactly.

    Args:
        space: of the model.
        items: shape: [users, ratings]
        ratings: in the scores' scale, shape: [users, ratings]
        mask: 1 for a rating, 0 for padding, shape: [users, ratings]
        noise: variance of a rating around its score.

    Returns:
        shape: [users, rank]
    """
    rows = space.axes[items] * mask.unsqueeze(-1)  # [users, ratings, rank]
    rest = (ratings - space.mean[items]) * mask
    gram = rows.mT @ rows / noise + torch.diag(1 / space.variance)
    return torch.linalg.solve(gram, (rows.mT @ rest.unsqueeze(-1)).squeeze(-1) / noise)


def place_by_choices(space: TasteSpace, items: Tensor, mask: Tensor, others: Tensor) -> Tensor:
    """The most likely places given what was chosen: BPR of the chosen items over others.

    ``Σ_i mean_j ln σ(s_i − s_j) − Σ_k c_k² / 2·variance_k``, which has one optimum, by Newton's
    method.

    Args:
        space: of the model.
        items: what was chosen, shape: [users, choices]
        mask: shape: [users, choices]
        others: items that stand for all, shape: [others]

    Returns:
        shape: [users, rank]
    """
    places = space.axes.new_zeros(len(items), space.axes.shape[1])
    for user in range(len(items)):  # a user's Hessian is of all pairs
        chosen = items[user][mask[user] > 0]
        rest = others[~torch.isin(others, chosen)]
        if len(chosen) and len(rest):
            places[user] = _newton(space, chosen, rest)
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
        while rate > 1e-4:  # halved until it descends
            moved, after = objective(place - rate * step)
            if moved <= loss:
                break
            rate /= 2
        place, loss, margin = place - rate * step, moved, after
    return place
