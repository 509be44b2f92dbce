"""People that the data never saw, read from tables of raw tokens into RecBole's numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType
from torch import Tensor

from recbole_ext.meta.tasks.task_set import Ratings

COUNTED = (
    "users",
    "users without ratings",
    "ratings",
    "items rated twice",
    "unknown items",
    "unknown values",
)


@dataclass(frozen=True)
class NewUsers:
    """A batch of users and what they have rated.

    Attributes:
        names: as in the tables, one each.
        content: by field, as RecBole holds it (0 or NaN: unknown), shape: [users] or
            [users, tokens]
        ratings: of known items, padded, shape: [users, ratings]
        counts: what could not be used, by what it is.
    """

    names: list[str]
    content: dict[str, Tensor]
    ratings: Ratings
    counts: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def part(self, which: slice) -> NewUsers:
        """Some of the users."""
        return NewUsers(
            self.names[which],
            {name: values[which] for name, values in self.content.items()},
            Ratings(*(column[which] for column in self.ratings.columns)),
        )


def read_new_users(
    dataset: Dataset,
    users: pd.DataFrame | None,
    ratings: pd.DataFrame | None,
    fields: list[str],
    value: str | None,
) -> NewUsers:
    """Translate tables of new users; what they name need not be known to the data.

    Args:
        dataset: that the model was trained on.
        users: a row each, with the data's name of users and any of ``fields``.
        ratings: with the data's names of users, items and, if ``value`` is given, of that column.
        fields: what describes users to the model.
        value: the column of ratings; ``None``: having rated is all that counts.

    Raises:
        ValueError: for a missing column, a user described twice, or a rating that is no number.
    """
    uid, iid = dataset.uid_field, dataset.iid_field
    users = pd.DataFrame({uid: []}) if users is None else users
    wanted = [uid, iid, *([] if value is None else [value])]
    ratings = pd.DataFrame({name: [] for name in wanted}) if ratings is None else ratings
    check_columns("users", users, [uid])
    check_columns("ratings", ratings, wanted)
    described, raters = users[uid].astype(str), ratings[uid].astype(str)
    twice = described[described.duplicated()]
    if len(twice):
        raise ValueError(f"users: {uid} {twice.iloc[0]!r} is described twice; keep one row")
    names = list(dict.fromkeys([*described, *raters]))
    counts = Counter(dict.fromkeys(COUNTED, 0))
    counts["users"] = len(names)
    rows = users.set_index(described).reindex(names)
    content = {name: _content(dataset, name, rows, counts) for name in fields}
    given = _ratings(dataset, raters, ratings, names, value, counts)
    counts["users without ratings"] = int((given.mask.sum(-1) == 0).sum())
    return NewUsers(names, content, given, dict(counts))


def check_columns(what: str, table: pd.DataFrame, wanted: list[str]) -> None:
    """Raise ``ValueError`` if a table lacks a column."""
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ValueError(
            f"{what}: no column {', '.join(missing)} among {', '.join(map(str, table.columns))}"
        )


def _content(dataset: Dataset, name: str, rows: pd.DataFrame, counts: Counter[str]) -> Tensor:
    """One field of all users."""
    raw = rows[name] if name in rows else pd.Series([None] * len(rows))
    kind = dataset.field2type[name]
    if kind == FeatureType.FLOAT:
        numbers = pd.to_numeric(raw, errors="coerce")
        counts["unknown values"] += int(numbers.isna().sum())
        return torch.tensor(numbers.to_numpy(dtype="float32"))
    ids = dataset.field2token_id[name]

    def find(token: Any) -> int:
        found = ids.get(token_of(token), 0)
        counts["unknown values"] += found == 0
        return found

    if kind == FeatureType.TOKEN:
        return torch.tensor([find(token) for token in raw], dtype=torch.long)
    separator = dataset.config["seq_separator"]
    found = [[find(t) for t in token_of(text).split(separator)] for text in raw]
    width = max(map(len, found), default=1)
    return torch.tensor([some + [0] * (width - len(some)) for some in found], dtype=torch.long)


def _ratings(
    dataset: Dataset,
    raters: pd.Series,
    table: pd.DataFrame,
    names: list[str],
    value: str | None,
    counts: Counter[str],
) -> Ratings:
    ids = dataset.field2token_id[dataset.iid_field]
    values = pd.Series(1.0, index=table.index) if value is None else table[value]
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.isna().any():
        at = numbers.isna().to_numpy().argmax()
        raise ValueError(
            f"ratings: row {at + 1} has {value} {values.iloc[at]!r}, which is no number"
        )
    given: dict[str, dict[int, float]] = {name: {} for name in names}
    for name, token, number in zip(raters, table[dataset.iid_field], numbers, strict=True):
        item = ids.get(token_of(token), 0)
        if item == 0:
            counts["unknown items"] += 1
            continue
        counts["items rated twice"] += item in given[name]
        given[name][item] = float(number)  # the last one counts
    counts["ratings"] = sum(map(len, given.values()))
    width = max([1, *map(len, given.values())])  # without ratings, padding: models expect some
    items = torch.zeros(len(names), width, dtype=torch.long)
    stars, mask = torch.zeros(len(names), width), torch.zeros(len(names), width)
    for user, rated in enumerate(given.values()):
        items[user, : len(rated)] = torch.tensor(list(rated), dtype=torch.long)
        stars[user, : len(rated)] = torch.tensor(list(rated.values()))
        mask[user, : len(rated)] = 1
    return Ratings(items, stars, mask)


def token_of(value: Any) -> str:
    """A cell as the data's files write it; a number that pandas made of a whole one stays whole."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)
