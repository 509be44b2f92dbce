"""Biases of users and items, shrunk towards what their content lets expect.

Reference:
    Koren. "Factor in the neighbors." TKDD 2010, section 2.1, solved by alternating means.
"""

from __future__ import annotations

from torch import Tensor


def shrunk_means(owners: Tensor, residuals: Tensor, rows: int, shrinkage: float) -> Tensor:
    """Sums of the residuals of each row, divided by their number and ``shrinkage`` more.

    Args:
        owners: the row of each residual, shape: [n]
        residuals: shape: [n]
        rows: number of rows.
        shrinkage: how many residuals of 0 each row is given beside its own.

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
        prior: what an item's bias is expected to be, shape: [n_items]
        shrinkage: of users and of items.
        rounds: how often the two are solved in turn.

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
