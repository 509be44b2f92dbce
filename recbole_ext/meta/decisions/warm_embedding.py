"""A vector for each item that training sees."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class WarmEmbedding(nn.Module):
    """A row for each item; 0 for items that are not trained on, of which no row was learnt.

    Args:
        warm: 1 for items that are trained on, else 0, shape: [n_items]
        size: of a row.
        std: of the rows to begin with.
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
    """1 for each item among some, shape: [n_items]."""
    warm = torch.zeros(n_items, device=items.device)
    warm[items] = 1
    return warm


def once_each(function: Callable[[Tensor], Tensor], items: Tensor) -> Tensor:
    """Call a function of items with the distinct ones only.

    Args:
        function: takes shape [n], returns shape [n, size].
        items: shape: [tasks, ratings]

    Returns:
        shape: [tasks, ratings, size]
    """
    distinct, where = items.unique(return_inverse=True)
    found = function(distinct).index_select(0, where.flatten())  # far faster than found[where]
    return found.view(*where.shape, -1)
