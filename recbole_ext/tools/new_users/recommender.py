"""A trained model for new users; its tables, given and returned, have raw tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.model.abstract_recommender import AbstractRecommender
from torch import Tensor

from recbole_ext.meta.tasks.task_set import side_by_side
from recbole_ext.settings.reading import integer
from recbole_ext.tools.new_users.atomic_table import read_atomic
from recbole_ext.tools.new_users.raw_tables import NewUsers, check_columns, read_new_users, token_of

USERS_AT_ONCE = 128


@dataclass(frozen=True)
class Answer:
    """The results, and counts of the given data.

    Attributes:
        table: a row for each result.
        counts: the numbers of users, ratings, and unknown items and values.
    """

    table: pd.DataFrame
    counts: dict[str, int]


class Recommender(ABC):
    """A trained model for new users; :func:`load` makes one.

    Tables of users and ratings have the column names of the model's data set.

    Args:
        config: the config of the run.
        model: the trained model.
        dataset: the training part of the model's data set.
    """

    fields: list[str]  # the fields by which the model describes users
    value: str | None  # the column of ratings, if their values matter

    def __init__(self, config: Config, model: AbstractRecommender, dataset: Dataset) -> None:
        self.config, self.model, self.dataset = config, model.eval(), dataset
        self.user, self.item = dataset.uid_field, dataset.iid_field

    @abstractmethod
    def scores(self, users: NewUsers, items: Tensor) -> Tensor:
        """Scores of some items for each user.

        Args:
            users: a batch of users.
            items: RecBole's ids of the items, shape: [users, items]

        Returns:
            shape: [users, items]
        """

    def in_range(self, scores: Tensor) -> Tensor:
        """Limit scores to be shown; rankings use the scores before, which do not tie at a bound."""
        return scores

    @abstractmethod
    def worth_asking(self, users: NewUsers) -> Tensor:
        """How much a rating of each item would reveal of each user, shape: [users, n_items]."""

    def recommend(
        self,
        users: pd.DataFrame | None = None,
        ratings: pd.DataFrame | None = None,
        topk: int = 10,
    ) -> Answer:
        """The best items that a user has not rated.

        Args:
            users: the users' fields, a row for each user.
            ratings: the users' ratings, a row for each rating.
            topk: the number of items.

        Returns:
            ``topk`` rows for each user, with user, rank, item, score and the item's own columns.

        Raises:
            ValueError: if a column is missing, a user is described twice, a rating is not a number,
                or ``topk`` is below 1.
        """
        new = self._read(users, ratings)

        def all_scores(some: NewUsers) -> Tensor:
            every = torch.arange(self.dataset.item_num).expand(len(some), -1)
            return self.scores(some, every)

        answer = self._best(new, all_scores, topk, "score")
        told = self.in_range(torch.tensor(answer.table["score"].to_numpy("float32")))
        return Answer(answer.table.assign(score=told.double().numpy()), answer.counts)

    def ask_next(
        self,
        users: pd.DataFrame | None = None,
        ratings: pd.DataFrame | None = None,
        topk: int = 5,
    ) -> Answer:
        """The items to ask a user about next; the most informative ones come first.

        Args:
            users: see :meth:`recommend`.
            ratings: the answers so far, as ratings.
            topk: the number of items.
        """
        return self._best(self._read(users, ratings), self.worth_asking, topk, "worth")

    def predict(
        self,
        pairs: pd.DataFrame,
        users: pd.DataFrame | None = None,
        ratings: pd.DataFrame | None = None,
    ) -> Answer:
        """The scores of some items; these are ratings if the model predicts ratings.

        Args:
            pairs: a row for each pair of a user and an item.
            users: see :meth:`recommend`.
            ratings: see :meth:`recommend`.

        Returns:
            ``pairs`` with a column ``score``, which is NaN for items that are not in the data set.
        """
        check_columns("pairs", pairs, [self.user, self.item])
        known = self.dataset.field2token_id[self.item]
        names = pairs[self.user].astype(str)
        everyone = pd.DataFrame({self.user: list(dict.fromkeys(names))})
        if users is not None:
            check_columns("users", users, [self.user])
            everyone = everyone.merge(users.astype({self.user: str}), how="left", on=self.user)
        if ratings is not None:
            check_columns("ratings", ratings, [self.user])
            ratings = ratings[ratings[self.user].astype(str).isin(everyone[self.user])]
        new = self._read(everyone, ratings)
        items = torch.tensor([known.get(token_of(cell), 0) for cell in pairs[self.item]])
        place = {name: at for at, name in enumerate(new.names)}
        where = torch.tensor([place[name] for name in names])
        found = torch.full((len(pairs),), float("nan"))
        asked = items > 0
        if asked.any():
            slots, padded = side_by_side(where[asked], items[asked], len(new))
            found[asked] = self.in_range(self.scores(new, padded)[where[asked], slots]).cpu()
        unknown = int((items == 0).sum())
        counts = {**new.counts, "unknown items asked for": unknown}
        return Answer(pairs.assign(score=found.numpy()), counts)

    @cached_property
    def item_columns(self) -> pd.DataFrame | None:
        """The columns of the ``.item`` file, by the items' tokens; ``None`` if there is no file."""
        folder = Path(self.config["data_path"])
        path = folder / f"{self.dataset.dataset_name}.item"
        if not path.is_file():
            return None
        table = read_atomic(path, self.config["field_separator"])
        return table.drop_duplicates(self.item).set_index(self.item)

    def _read(self, users: pd.DataFrame | None, ratings: pd.DataFrame | None) -> NewUsers:
        return read_new_users(self.dataset, users, ratings, self.fields, self.value)

    @torch.no_grad()
    def _best(self, new: NewUsers, score: Any, topk: int, name: str) -> Answer:
        topk = integer({"topk": topk}, "topk", minimum=1)
        rows: list[dict[str, Any]] = []
        for at in range(0, len(new), USERS_AT_ONCE):
            some = new.part(slice(at, at + USERS_AT_ONCE))
            scores = score(some).cpu().clone()
            scores[:, 0] = -torch.inf
            scores.scatter_(1, some.ratings.items, -torch.inf)  # padding is item 0
            best = scores.topk(min(topk, scores.shape[1]))
            for user, values, items in zip(
                some.names, *map(torch.Tensor.tolist, best), strict=True
            ):
                ranked = enumerate(zip(values, items, strict=True), start=1)
                rows += [
                    {self.user: user, "rank": rank, self.item: self._token(item), name: value}
                    for rank, (value, item) in ranked
                    if value > -torch.inf
                ]
        table = pd.DataFrame(rows, columns=[self.user, "rank", self.item, name])
        if self.item_columns is not None:
            taken = {name: f"{name} of the item" for name in table.columns}
            table = table.join(self.item_columns.rename(columns=taken), on=self.item)
        return Answer(table, new.counts)

    def _token(self, item: int) -> str:
        return str(self.dataset.id2token(self.item, item))
