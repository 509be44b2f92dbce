"""A trained model for people that its data never saw: raw tokens in, raw tokens out."""

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
    """What was asked for, and what of the question could not be used.

    Attributes:
        table: a row for each answer.
        counts: users, ratings and whatever was unknown.
    """

    table: pd.DataFrame
    counts: dict[str, int]


class Recommender(ABC):
    """Tables of users and ratings have the data's own column names; :func:`load` makes one.

    Args:
        config: of the run.
        model: trained.
        dataset: the training part of its data.
    """

    fields: list[str]  # what describes users to the model
    value: str | None  # the column of ratings, if their size matters

    def __init__(self, config: Config, model: AbstractRecommender, dataset: Dataset) -> None:
        self.config, self.model, self.dataset = config, model.eval(), dataset
        self.user, self.item = dataset.uid_field, dataset.iid_field

    @abstractmethod
    def scores(self, users: NewUsers, items: Tensor) -> Tensor:
        """Scores of some items for each user.

        Args:
            users: a batch.
            items: RecBole's ids, shape: [users, items]

        Returns:
            shape: [users, items]
        """

    def in_range(self, scores: Tensor) -> Tensor:
        """Scores as they are told; the ranking is of those before, which do not tie at a bound."""
        return scores

    @abstractmethod
    def worth_asking(self, users: NewUsers) -> Tensor:
        """How much each item's rating would tell about each user, shape: [users, n_items]."""

    def recommend(
        self,
        users: pd.DataFrame | None = None,
        ratings: pd.DataFrame | None = None,
        topk: int = 10,
    ) -> Answer:
        """The best items that a user has not rated.

        Args:
            users: what describes them, a row each.
            ratings: what they have rated, a row each.
            topk: how many items.

        Returns:
            For each user ``topk`` rows: user, rank, item, score and the item's own columns.

        Raises:
            ValueError: for a missing column, a user described twice, a rating that is no number,
                or ``topk`` below 1.
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
        """The items to ask a user about next, those first whose ratings would tell most.

        Args:
            users: see :meth:`recommend`.
            ratings: what has been asked and answered.
            topk: how many items.
        """
        return self._best(self._read(users, ratings), self.worth_asking, topk, "worth")

    def predict(
        self,
        pairs: pd.DataFrame,
        users: pd.DataFrame | None = None,
        ratings: pd.DataFrame | None = None,
    ) -> Answer:
        """The score of some items: a rating, if the model predicts ratings.

        Args:
            pairs: users and items, a row each.
            users: see :meth:`recommend`.
            ratings: see :meth:`recommend`.

        Returns:
            ``pairs`` with a column ``score``, NaN for items that the data does not know.
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
        """What the ``.item`` file says of each item, by token, if there is one."""
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
            table = table.join(self.item_columns, on=self.item, rsuffix=" of the item")
        return Answer(table, new.counts)

    def _token(self, item: int) -> str:
        return str(self.dataset.id2token(self.item, item))
