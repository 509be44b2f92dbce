"""Ordinal regression: the probability of each rating level, given some predictions of the rating.

Reference:
    McCullagh. "Regression models for ordinal data." JRSS B 1980, the proportional-odds model.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 100
RAREST = 0.01  # the least share of a level in the thresholds that the fit starts from


def thresholds(steps: Tensor) -> Tensor:
    """Ascending thresholds: the first step is the first one, the others are logs of differences.

    Args:
        steps: shape: [..., levels - 1]
    """
    return torch.cat([steps[..., :1], steps[..., 1:].exp()], -1).cumsum(-1)


def first_steps(shares: Tensor) -> Tensor:
    """The steps of thresholds that give each level its share, shape: [levels - 1].

    Args:
        shares: the share of each level, shape: [levels]
    """
    kept = shares.clamp(min=RAREST)
    at = (kept / kept.sum()).cumsum(0)[:-1].logit()
    return torch.cat([at[:1], at.diff().log()])


def level_probabilities(inputs: Tensor, weights: Tensor, steps: Tensor) -> Tensor:
    """The probability of each level: ``P(level ≤ k) = sigmoid(threshold_k − weights·inputs)``.

    Args:
        inputs: shape: [..., columns]
        weights: shape: [..., columns]
        steps: the steps of the thresholds, shape: [..., levels - 1]

    Returns:
        shape: [..., levels]
    """
    position = (inputs * weights).sum(-1, keepdim=True)
    below = (thresholds(steps) - position).sigmoid()
    zero, one = torch.zeros_like(position), torch.ones_like(position)
    return torch.cat([zero, below, one], -1).diff(dim=-1)


def fit_levels(inputs: Tensor, levels: Tensor, near: Tensor, strength: float) -> Tensor:
    """The parameters that make the observed levels most likely, minus a penalty.

    Args:
        inputs: shape: [n, columns]
        levels: the place of each observed level, shape: [n]
        near: the parameters that the penalty pulls towards and the fit starts from, weights before
            steps, shape: [columns + levels - 1]
        strength: ``strength · |parameters − near|²`` is the penalty.

    Returns:
        shape: [columns + levels - 1]
    """
    columns = inputs.shape[1]
    found = near.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([found], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        all_ = level_probabilities(inputs, found[:columns], found[columns:])
        seen = all_.gather(-1, levels.unsqueeze(-1)).clamp(min=1e-12)
        lost = strength * (found - near).square().sum() - seen.log().sum()
        lost.backward()
        return lost

    with torch.enable_grad():
        optimizer.step(loss)
    return found.detach()
