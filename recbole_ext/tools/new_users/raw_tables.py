"""Translation of new users from tables of raw tokens into RecBole's numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
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
    """A batch of users and their ratings.

    Attributes:
        names: the users' names in the tables.
        content: the values of each field in RecBole's format, where 0 or NaN is unknown,
            shape: [users], [users, tokens] or [users, numbers]
        ratings: the ratings of known items, padded, shape: [users, ratings]
        counts: the numbers of users and ratings, and of values that could not be used.
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
    """Translate tables of new users; unknown items and values are counted.

    Args:
        dataset: the data set that the model was trained on.
        users: a row for each user, with the data set's column of users and any of ``fields``.
        ratings: a row for each rating, with the data set's columns of users and items and, if
            given, the column ``value``.
        fields: the fields by which the model describes users.
        value: the column of ratings; ``None`` if only the rated items count.

    Raises:
        ValueError: if a column is missing, a user is described twice, or a rating is not a number.
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


def described(names: pd.Series, users: pd.DataFrame | None) -> pd.DataFrame:
    """A row for each distinct name, with the user's fields if there are any.

    Args:
        names: text, called like the column of users.
        users: the users' fields, a row for each user, or ``None``.

    Raises:
        ValueError: if the column of users is missing.
    """
    everyone = pd.DataFrame({names.name: names.unique()})
    if users is None:
        return everyone
    check_columns("users", users, [str(names.name)])
    return everyone.merge(users.astype({names.name: str}), how="left", on=names.name)


def check_columns(what: str, table: pd.DataFrame, wanted: list[str]) -> None:
    """Raise ``ValueError`` if a table lacks a column."""
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ValueError(
            f"{what}: no column {', '.join(missing)} among {', '.join(map(str, table.columns))}"
        )


def _content(dataset: Dataset, name: str, rows: pd.DataFrame, counts: Counter[str]) -> Tensor:
    """The values of one field for all users."""
    raw = rows[name] if name in rows else pd.Series([None] * len(rows))
    kind = dataset.field2type[name]
    if kind == FeatureType.FLOAT:
        numbers = pd.to_numeric(raw, errors="coerce")
        counts["unknown values"] += int(numbers.isna().sum())
        return torch.tensor(numbers.to_numpy(dtype="float32"))
    separator = dataset.config["seq_separator"]
    if kind == FeatureType.FLOAT_SEQ:
        vectors = [_numbers(token_of(text).split(separator), dataset.num(name)) for text in raw]
        counts["unknown values"] += sum(int(vector.isnan().any()) for vector in vectors)
        return torch.stack(vectors)
    ids = dataset.field2token_id[name]

    def find(token: Any) -> int:
        found = ids.get(token_of(token), 0)
        counts["unknown values"] += found == 0
        return found

    if kind == FeatureType.TOKEN:
        return torch.tensor([find(token) for token in raw], dtype=torch.long)
    found = [[find(t) for t in token_of(text).split(separator)] for text in raw]
    width = max(map(len, found), default=1)
    return torch.tensor([some + [0] * (width - len(some)) for some in found], dtype=torch.long)


def _numbers(cells: list[str], width: int) -> Tensor:
    """A vector of numbers, NaN where there is none, shape: [width]."""
    numbers = pd.to_numeric(pd.Series(cells, dtype="object"), errors="coerce").iloc[:width]
    return torch.tensor(numbers.reindex(range(width)).to_numpy(dtype="float32"))


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
        at = int(np.flatnonzero(numbers.isna())[0])
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
        given[name][item] = float(number)  # the last rating of an item counts
    counts["ratings"] = sum(map(len, given.values()))
    width = max([1, *map(len, given.values())])  # models need at least one column
    items = torch.zeros(len(names), width, dtype=torch.long)
    stars, mask = torch.zeros(len(names), width), torch.zeros(len(names), width)
    for user, rated in enumerate(given.values()):
        items[user, : len(rated)] = torch.tensor(list(rated), dtype=torch.long)
        stars[user, : len(rated)] = torch.tensor(list(rated.values()))
        mask[user, : len(rated)] = 1
    return Ratings(items, stars, mask)


def token_of(value: Any) -> str:
    """A cell as text; whole numbers that pandas turned into floats become whole again."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)
