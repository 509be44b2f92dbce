"""What goes with the items of a support set, by a linear model of items on items."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from recbole_ext.meta.tasks.task_set import Ratings


class Neighbours(nn.Module):
    """Scores ``scale · √k · Σ_j B_j`` over the ``k`` given items, with weights from items to items.

    Args:
        weights: B, shape: [n_items, n_items]
        scale: the factor of the sum.
    """

    weights: Tensor

    def __init__(self, weights: Tensor, scale: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)  # fitted anew from the ratings
        self.scale = scale

    def forward(self, support: Ratings) -> Tensor:
        """Scores of all items, shape: [tasks, n_items]."""
        given = self.weights.new_zeros(len(support.items), len(self.weights))
        given.scatter_add_(1, support.items, support.mask.to(given.dtype))
        return self.scale * given.sum(-1, keepdim=True).sqrt() * (given @ self.weights)


def item_weights(users: Tensor, items: Tensor, n_items: int, strength: float) -> Tensor:
    """The weights with a diagonal of 0 that best give each item from a user's others.

    Args:
        users: the users of the training ratings, shape: [n]
        items: their items, shape: [n]
        n_items: number of items, padding included.
        strength: strength of the ridge penalty.

    Returns:
        shape: [n_items, n_items]

    Reference:
        Steck. "Embarrassingly shallow autoencoders for sparse data." WWW 2019, equation 8.
    """
    ones = np.ones(len(users))
    rated = csr_matrix((ones, (users.numpy(), items.numpy())), (int(users.max()) + 1, n_items))
    weights = (rated.T @ rated).toarray()
    weights[np.diag_indices(n_items)] += strength
    weights = np.linalg.inv(weights)
    weights /= -np.diag(weights).copy()
    np.fill_diagonal(weights, 0.0)
    return torch.as_tensor(weights, dtype=torch.get_default_dtype())
