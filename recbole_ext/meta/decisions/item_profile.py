"""The features of an item that a decision network sees."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_ext.meta.decisions.content import ContentEmbedding
from recbole_ext.meta.decisions.warm_embedding import WarmEmbedding, once_each


class ItemProfile(nn.Module):
    """An item's content and, beside it, the item's own vector if it has one.

    Args:
        content: embeddings of the items' content.
        own: the items' own vectors, or ``None``.
    """

    def __init__(self, content: ContentEmbedding, own: WarmEmbedding | None) -> None:
        super().__init__()
        self.content, self.own = content, own
        self.size = content.size + (0 if own is None else own.rows.embedding_dim)

    def forward(self, items: Tensor) -> Tensor:
        """Shape: [tasks, ratings, size] for items of shape [tasks, ratings]."""
        return once_each(self._profile, items)

    def _profile(self, items: Tensor) -> Tensor:
        content = self.content(items)
        return content if self.own is None else torch.cat([content, self.own(items)], dim=-1)
