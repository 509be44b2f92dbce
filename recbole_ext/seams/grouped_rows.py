"""Rows by user, counts and selected rows: what RecBole loops over in Python, with equal results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType
from scipy.sparse import coo_matrix
from torch import Tensor

SOME = 1 << 20


class Groups:
    """Rows by key, in their order within each key.

    Args:
        keys: the key of each row, at least 0, shape: [rows].
        number: the number of keys.

    Attributes:
        rows: the rows, one key after another, shape: [rows].
        starts: where each key begins in ``rows``, and the end, shape: [number + 1].
    """

    def __init__(self, keys: np.ndarray, number: int) -> None:
        kind = np.int32 if max(len(keys), number) < 2**31 else np.int64
        every = np.arange(len(keys), dtype=kind)
        cells = (np.zeros(len(keys), dtype=bool), (keys.astype(kind), every))
        table = coo_matrix(cells, shape=(number, max(1, len(keys)))).tocsr()  # sorts by counting
        self.rows, self.starts = table.indices, table.indptr

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        """The rows of each key."""
        return iter(np.split(self.rows, self.starts[1:-1]))

    def parts(self, sizes: Callable[[int], list[int]]) -> list[np.ndarray]:
        """Divide the rows of each key.

        Args:
            sizes: the sizes of the parts of a key, which depend on its number of rows only.

        Returns:
            The rows of each part, one key after another.
        """
        counts = np.diff(self.starts)
        lengths, which = np.unique(counts, return_inverse=True)
        table = np.array([sizes(int(length)) for length in lengths])  # [lengths, parts]
        part = np.repeat(
            np.tile(np.arange(table.shape[1], dtype=np.int8), len(counts)), table[which].ravel()
        )
        return [self.rows[part == at] for at in range(table.shape[1])]


def grouping(_: Callable) -> Callable:
    """Replace ``Dataset._grouped_index``: the rows of each key, by the key's first appearance."""

    def grouped_index(dataset: Dataset, keys: Any) -> Groups:
        codes, found = pd.factorize(np.asarray(keys))
        return Groups(codes, len(found))

    return grouped_index


def splitting_by_ratio(split: Callable) -> Callable:
    """Wrap ``Dataset.split_by_ratio``: the rows of all users are divided at once."""

    def split_by_ratio(dataset: Dataset, ratios: list, group_by: str | None = None) -> list:
        if group_by is None:
            return split(dataset, ratios, group_by)
        shares = [ratio / sum(ratios) for ratio in ratios]

        def sizes(total: int) -> list[int]:
            ends = [0, *dataset._calcu_split_ids(tot=total, ratios=shares), total]
            return [len(range(total)[a:b]) for a, b in pairwise(ends)]

        parts = dataset._grouped_index(dataset.inter_feat[group_by].numpy()).parts(sizes)
        dataset._drop_unused_col()
        return [dataset.copy(dataset.inter_feat[rows]) for rows in parts]

    return split_by_ratio


def leaving_out(split: Callable) -> Callable:
    """Wrap ``Dataset._split_index_by_leave_one_out``: the rows of all users are divided at once."""

    def split_index(dataset: Dataset, groups: Any, leave_one_num: int) -> list:
        if not isinstance(groups, Groups):
            return split(dataset, groups, leave_one_num)

        def sizes(total: int) -> list[int]:
            left_out = min(leave_one_num, total - 1)
            empty = [0] * (leave_one_num - left_out)
            return [total - left_out, *empty, *[1] * left_out]

        return groups.parts(sizes)

    return split_index


def selecting_rows(get: Callable) -> Callable:
    """Wrap ``Interaction.__getitem__``: rows are not passed through lists of Python's integers."""

    def get_rows(interaction: Interaction, index: Any) -> Any:
        if isinstance(index, range) and index.step == 1 and index.start >= 0:
            index = slice(index.start, index.stop)
            return Interaction({f: values[index] for f, values in interaction.interaction.items()})
        rows = _rows(index)
        if rows is None:
            return get(interaction, index)
        take = _taking(rows)
        return Interaction({name: take(v) for name, v in interaction.interaction.items()})

    return get_rows


def ordering_rows(reindex: Callable) -> Callable:
    """Wrap ``Interaction._reindex``, which puts all rows in another order."""

    def reindex_rows(interaction: Interaction, index: Any) -> None:
        rows = _rows(index)
        if rows is None:
            reindex(interaction, index)
            return
        columns, take = interaction.interaction, _taking(rows)
        for name in columns:  # one by one, so that each frees its old values
            columns[name] = take(columns[name])

    return reindex_rows


def _rows(index: Any) -> Tensor | None:
    """A tensor that selects the rows that a list of the index's elements does, if there is one."""
    if getattr(index, "ndim", 0) != 1:
        return None
    if isinstance(index, np.ndarray) and index.dtype.kind in "ib":
        kind = np.int64 if index.dtype.kind == "i" else bool
        index = torch.from_numpy(np.ascontiguousarray(index, dtype=kind))
    known = isinstance(index, Tensor) and index.dtype in (torch.int64, torch.bool)
    return index if known and index.device.type == "cpu" else None


def _taking(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """What takes rows of a column; ``index_select`` is three times as fast as an index."""
    plain = rows.dtype == torch.int64 and len(rows) > 0 and int(rows.min()) >= 0

    def take(values: Tensor) -> Tensor:
        if plain and values.device.type == "cpu":
            return values.index_select(0, rows)
        return values[rows]

    return take


def count(values: Any = ()) -> Counter:
    """``Counter(values)``, faster for ids and for dictionary-encoded tokens."""
    encoded = isinstance(values, pd.Categorical)
    codes = values.codes if encoded else values
    whole = isinstance(codes, np.ndarray) and codes.ndim == 1 and codes.dtype.kind == "i"
    if not whole or codes.min(initial=0) < 0:
        return Counter(values)
    found = pd.unique(codes)  # in the order of their first appearance
    numbers = np.zeros(codes.max(initial=0) + 1, dtype=np.int64)
    for start in range(0, len(codes), SOME):  # because bincount copies what it counts
        numbers += np.bincount(codes[start : start + SOME], minlength=len(numbers))
    keys = np.asarray(values.categories)[found] if encoded else found
    return Counter(dict(zip(keys, numbers[found].tolist(), strict=True)))


def joining_tokens(concatenate: Callable) -> Callable:
    """Wrap ``Dataset._concat_remaped_tokens``: dictionary-encoded tokens stay so."""

    def concat_tokens(dataset: Dataset, remap_list: list) -> tuple:
        kinds = [feat[field].dtype for feat, field, _ in remap_list]
        if not any(isinstance(kind, pd.CategoricalDtype) for kind in kinds):
            return concatenate(dataset, remap_list)
        pieces = [_encoded(feat[field], kind) for feat, field, kind in remap_list]
        words, tokens = pd.factorize(np.concatenate([found for _, found in pieces]))
        ends = np.cumsum([len(found) for _, found in pieces])[:-1]
        codes = [
            np.append(new, -1).astype(np.int32)[old]
            for (old, _), new in zip(pieces, np.split(words, ends), strict=True)
        ]
        split_point = np.cumsum([len(some) for some in codes])[:-1]
        names = pd.Index(tokens, dtype=object)
        joined: Any = pd.Categorical.from_codes(np.concatenate(codes), names)
        return joined, split_point

    return concat_tokens


def _encoded(column: Any, kind: FeatureType) -> tuple[np.ndarray, np.ndarray]:
    """The code of each token of a column, -1 where it is missing, and the tokens."""
    values = column.agg(np.concatenate) if kind == FeatureType.TOKEN_SEQ else column.values
    if isinstance(values, pd.Categorical):
        return values.codes, np.asarray(values.categories, dtype=object)
    codes, found = pd.factorize(values)
    return codes, np.asarray(found, dtype=object)
