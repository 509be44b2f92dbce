"""Embeddings of what describes a user or an item."""

from __future__ import annotations

import torch
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType
from torch import Tensor, nn


class ContentEmbedding(nn.Module):
    """One embedding for each field, side by side.

    A token's is a row of a table, that of a sequence the mean of its tokens' rows, that of a number
    a multiple of one vector (the number standardised) plus another.

    Args:
        dataset: a part of the built dataset, its features in tensors.
        side: ``user`` or ``item``.
        fields: the names of the fields.
        embedding_size: size of each field's embedding (d).
        rows: the rows that training sees; a value that none of them has counts as unknown and is
            embedded as 0. ``None``: every value has its row, trained or not.

    Reference:
        Lee et al. "MeLU." KDD 2019, equations 1 and 2.
    """

    def __init__(
        self,
        dataset: Dataset,
        side: str,
        fields: list[str],
        embedding_size: int,
        rows: Tensor | None = None,
    ) -> None:
        super().__init__()
        feature = dataset.get_user_feature() if side == "user" else dataset.get_item_feature()
        self.size = len(fields) * embedding_size
        self.embeddings = nn.ModuleList()  # by place: a field may be called as a module may not
        for place, field in enumerate(fields):
            values = feature[field]
            if dataset.field2type[field] == FeatureType.FLOAT:
                values = _standardised(values, rows).unsqueeze(-1)  # [n_rows, 1]
                self.embeddings.append(nn.Linear(1, embedding_size))
            else:
                values = values if values.dim() == 2 else values.unsqueeze(-1)  # [n_rows, tokens]
                if rows is not None:
                    seen = values[rows].unique()
                    values = values * torch.isin(values, seen)
                rows_of_tokens = nn.EmbeddingBag(
                    dataset.num(field), embedding_size, mode="mean", padding_idx=0
                )
                self.embeddings.append(rows_of_tokens)
            self.register_buffer(f"values_{place}", values, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed some rows.

        Args:
            ids: shape: [rows]

        Returns:
            shape: [rows, fields * embedding_size]
        """
        parts = [
            embedding(getattr(self, f"values_{place}")[ids])
            for place, embedding in enumerate(self.embeddings)
        ]
        return torch.cat(parts, dim=-1)


def _standardised(values: Tensor, rows: Tensor | None) -> Tensor:
    known = values[1:] if rows is None else values[rows]
    spread = known.std(correction=0)
    return (values - known.mean()) / torch.where(spread > 0, spread, 1.0)
