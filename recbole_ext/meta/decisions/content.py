"""Embeddings of the content of a user or an item."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType
from torch import Tensor, nn
from torch.nn.functional import pad


class ContentEmbedding(nn.Module):
    """One embedding for each field, side by side.

    A token is embedded by a row of a table, a sequence by the mean of its tokens' rows, and a
    number or a vector of numbers (``float_seq``), once standardised, by a linear layer.

    Args:
        dataset: a part of the built dataset, its features in tensors.
        side: ``user`` or ``item``.
        fields: the names of the fields.
        embedding_size: size of each field's embedding (d).
        rows: the users or items that are trained on; a value that none of them has counts as
            unknown and is embedded as 0. With ``None`` every value has its row, trained or not.

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
        self.fields, self.size = fields, len(fields) * embedding_size
        self._prepare: list[Callable[[Tensor], Tensor]] = []
        self.embeddings = nn.ModuleList()  # by place: not every field's name may name a module
        for place, field in enumerate(fields):
            values = feature[field]
            if dataset.field2type[field] in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ):
                values = values.view(len(values), -1)
                prepare = _standardiser(values, rows)
                self.embeddings.append(nn.Linear(values.shape[1], embedding_size))
            else:
                seen = None if rows is None else values[rows].unique()
                prepare = partial(_known_tokens, seen=seen)
                rows_of_tokens = nn.EmbeddingBag(
                    dataset.num(field), embedding_size, mode="mean", padding_idx=0
                )
                self.embeddings.append(rows_of_tokens)
            self._prepare.append(prepare)
            self.register_buffer(f"values_{place}", prepare(values), persistent=False)

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

    @contextmanager
    def more_rows(self, values: list[Tensor]) -> Iterator[Tensor]:
        """Temporarily add rows that are not in the data set, such as new users.

        Args:
            values: for each of ``fields`` either RecBole's ids (0: unknown), shape: [rows] or
                [rows, tokens], or numbers (NaN: unknown, which counts as the mean), shape: [rows]
                or [rows, numbers]

        Yields:
            The ids of the new rows, shape: [rows]
        """
        names = [f"values_{place}" for place in range(len(self.fields))]
        before = {name: getattr(self, name) for name in names}
        try:
            for name, prepare, new in zip(names, self._prepare, values, strict=True):
                old = before[name]
                more = prepare(new).nan_to_num(0.0).to(old)
                width = max(old.shape[1], more.shape[1])
                both = [pad(rows, (0, width - rows.shape[1])) for rows in (old, more)]
                setattr(self, name, torch.cat(both))
            first = len(before[names[0]])
            yield torch.arange(first, first + len(values[0]))
        finally:
            for name, old in before.items():
                setattr(self, name, old)


def _standardise(values: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Numbers minus their means, divided by their spreads, shape: [rows, numbers]."""
    return (values.view(len(values), -1) - mean) / spread


def _standardiser(values: Tensor, rows: Tensor | None) -> Callable[[Tensor], Tensor]:
    known = values[1:] if rows is None else values[rows]
    spread = known.std(0, correction=0)
    return partial(_standardise, mean=known.mean(0), spread=torch.where(spread > 0, spread, 1.0))


def _known_tokens(values: Tensor, seen: Tensor | None) -> Tensor:
    """The tokens, with 0 in place of those that are not in ``seen``, shape: [rows, tokens]."""
    values = values if values.dim() == 2 else values.unsqueeze(-1)
    return values if seen is None else values * torch.isin(values, seen)
