"""An embedding of the items that are trained on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class WarmEmbedding(nn.Module):
    """A vector for each item; it is 0 for items that are not trained on.

    Args:
        warm: 1 for items that are trained on, else 0, shape: [n_items]
        size: size of a vector.
        std: standard deviation of the initial vectors.
    """

    warm: Tensor

    def __init__(self, warm: Tensor, size: int, std: float) -> None:
        super().__init__()
        self.rows = nn.Embedding(len(warm), size)
        nn.init.normal_(self.rows.weight, std=std)
        self.register_buffer("warm", warm.unsqueeze(-1), persistent=False)

    def forward(self, items: Tensor) -> Tensor:
        """Shape: [..., size] for items of shape [...]."""
        return self.rows(items) * self.warm[items]


def warm_items(items: Tensor, n_items: int) -> Tensor:
    """A vector that is 1 for each of ``items`` and 0 for all others, shape: [n_items]."""
    warm = torch.zeros(n_items, device=items.device)
    warm[items] = 1
    return warm


def once_each(function: Callable[[Tensor], Tensor], items: Tensor) -> Tensor:
    """Call a function of items once for each distinct item.

    Args:
        function: takes shape [n], returns shape [n, size].
        items: shape: [tasks, ratings]

    Returns:
        shape: [tasks, ratings, size]
    """
    distinct, where = items.unique(return_inverse=True)
    found = function(distinct).index_select(0, where.flatten())  # far faster than found[where]
    return found.view(*where.shape, -1)
