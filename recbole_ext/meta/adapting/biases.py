"""Biases of users and items, shrunk towards a prediction from their content.

Reference:
    Koren. "Factor in the neighbors." TKDD 2010, section 2.1, solved by alternating means.
"""

from __future__ import annotations

from torch import Tensor


def shrunk_means(owners: Tensor, residuals: Tensor, rows: int, shrinkage: float) -> Tensor:
    """The sum of each row's residuals, divided by their number plus ``shrinkage``.

    Args:
        owners: the row of each residual, shape: [n]
        residuals: shape: [n]
        rows: number of rows.
        shrinkage: number of residuals of 0 that are added to each row's own.

    Returns:
        shape: [rows]
    """
    sums = residuals.new_zeros(rows).index_add_(0, owners, residuals)
    counts = owners.bincount(minlength=rows).to(residuals.dtype)
    return sums / (counts + shrinkage).clamp(min=1e-12)


def item_biases(
    users: Tensor,
    items: Tensor,
    ratings: Tensor,
    prior: Tensor,
    shrinkage: tuple[float, float] = (5.0, 5.0),
    rounds: int = 10,
) -> tuple[Tensor, Tensor]:
    """The biases in ``rating ≈ mean + b_user + prior_item + b_item``.

    Args:
        users: shape: [n]
        items: shape: [n]
        ratings: shape: [n]
        prior: the bias that each item is shrunk towards, shape: [n_items]
        shrinkage: the shrinkage of users and the one of items.
        rounds: number of times that users and items are solved in turn.

    Returns:
        The mean rating, shape: [], and each item's bias, prior included, shape: [n_items]
    """
    mean = ratings.mean()
    residuals = ratings - mean
    n_users = int(users.max()) + 1
    of_item = prior.clone()
    for _ in range(rounds):
        of_user = shrunk_means(users, residuals - of_item[items], n_users, shrinkage[0])
        rest = residuals - of_user[users] - prior[items]
        of_item = prior + shrunk_means(items, rest, len(prior), shrinkage[1])
    return mean, of_item
