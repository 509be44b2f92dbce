"""Matrix factorisation by alternating ridge regression."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor


def item_factors(
    users: Tensor, items: Tensor, targets: Tensor, n_items: int, size: int, strength: float
) -> Tensor:
    """The items' factors, shape: [n_items, size]; the arguments are those of :func:`factors`."""
    return factors(users, items, targets, n_items, size, strength)[1]


def factors(
    users: Tensor,
    items: Tensor,
    targets: Tensor,
    n_items: int,
    size: int,
    strength: float,
    rounds: int = 10,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Factors of users and items in ``target ≈ p_user · q_item``.

    Args:
        users: shape: [n]
        items: shape: [n]
        targets: shape: [n]
        n_items: number of items.
        size: size of the factors.
        strength: strength of both ridge regressions.
        rounds: number of times that users and items are solved in turn.
        seed: seed of the initial factors.

    Returns:
        The users' factors, shape: [largest user + 1, size], and the items', shape: [n_items, size];
        those of a user or an item without targets are 0.

    Reference:
        Zhou et al. "Large-scale parallel collaborative filtering for the Netflix prize." 2008.
    """
    shape = (int(users.max()) + 1, n_items)
    place = (users.numpy(), items.numpy())
    matrix = csr_matrix((targets.double().numpy(), place), shape)
    rated = csr_matrix((np.ones(len(users)), place), shape)
    of_items = np.random.default_rng(seed).normal(scale=0.1, size=(n_items, size))
    for _ in range(rounds):
        of_users = _solve(matrix, rated, of_items, strength)
        of_items = _solve(matrix.T, rated.T, of_users, strength)
    return (
        torch.as_tensor(of_users, dtype=targets.dtype),
        torch.as_tensor(of_items, dtype=targets.dtype),
    )


def _solve(
    matrix: csr_matrix, rated: csr_matrix, factors: np.ndarray, strength: float
) -> np.ndarray:
    """The rows in ``matrix ≈ rows @ factors.T``, fitted to the rated entries only."""
    size = factors.shape[1]
    products = (factors[:, :, None] * factors[:, None, :]).reshape(len(factors), -1)
    grams = (rated @ products).reshape(-1, size, size) + strength * np.eye(size)
    return np.linalg.solve(grams, (matrix @ factors)[:, :, None])[:, :, 0]
