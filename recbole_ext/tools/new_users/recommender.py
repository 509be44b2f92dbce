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
from recbole_ext.settings.reading import choice, integer
from recbole_ext.tools.new_users.atomic_table import read_atomic
from recbole_ext.tools.new_users.raw_tables import (
    NewUsers,
    check_columns,
    described,
    read_new_users,
    token_of,
)
from recbole_ext.tools.new_users.taste_map import ORDERS, Scored, TasteMap

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
    """A trained model for new users; tables have the column names of its data set.

    Args:
        config: the config of the run.
        model: the trained model.
        dataset: the training part of the model's data set.
    """

    fields: list[str]  # the fields by which the model describes users
    value: str | None  # the column of ratings, if their values matter
    rates: bool  # whether the model predicts ratings

    def __init__(self, config: Config, model: AbstractRecommender, dataset: Dataset) -> None:
        self.config, self.model, self.dataset = config, model.eval(), dataset
        self.user, self.item = dataset.uid_field, dataset.iid_field

    @cached_property
    def map(self) -> TasteMap:
        """Where the model's own users lie."""
        return TasteMap(self.config, self.model, self.dataset, self.value if self.rates else None)

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
        """Limit scores to be shown; rankings use those before, which do not tie at a bound."""
        return scores

    @property
    @abstractmethod
    def spread(self) -> float:
        """The standard deviation of ratings around the predicted ones, for a model of ratings."""

    def all_scores(self, users: NewUsers) -> Tensor:
        """The scores of all items, shape: [users, n_items]; see :meth:`scores`."""
        return self.scores(users, torch.arange(self.dataset.item_num).expand(len(users), -1))

    def worth_asking(self, users: NewUsers) -> Tensor:
        """How much a rating of each item would reveal of each user, shape: [users, n_items].

        For ratings it is the uncertainty that the answers so far have left, times the item's share
        of users. For lists items are drawn by :meth:`chances`, so that the answers are a fair
        sample of the user's items, as in training.

        Raises:
            ValueError: if the model has the same scores for all users.
        """
        self.map.check_tastes()
        if not self.rates:
            return self.chances(users) * self.map.luck
        items, _, mask = users.ratings.columns
        return self.map.uncertain(items, mask) * self.map.popularity

    def chances(self, users: NewUsers) -> Tensor:
        """How likely each user knows each item, up to a factor, shape: [users, n_items].

        It is the item's popularity, whatever the answers, unless a softmax was trained.
        """
        return self.map.popularity.expand(len(users), -1)

    def recommend(
        self,
        users: pd.DataFrame | None = None,
        ratings: pd.DataFrame | None = None,
        topk: int = 10,
        by: str | None = None,
    ) -> Answer:
        """The best items that a user has not rated.

        Args:
            users: the users' fields, a row for each user.
            ratings: the users' ratings, a row for each rating.
            topk: the number of items.
            by: ``likely`` begins with what a user is likely to meet and like, ``rating`` with the
                highest predicted rating, which only models of ratings have.

        Returns:
            ``topk`` rows for each user, with user, rank, item, score and the item's own columns.
            The score is a predicted rating for a model of ratings, with the standard deviation of
            ratings around it in the column ``spread``.

        Raises:
            ValueError: if a column is missing, a user is described twice, a rating is not a number,
                ``topk`` is below 1, or the model cannot rank as asked.
        """
        by = choice({"by": by or "likely"}, "by", list(ORDERS))
        if by == "rating" and not self.rates:
            name = type(self.model).__name__
            raise ValueError(f"by: {name} was trained for lists and predicts no ratings; omit it")
        new = self._read(users, ratings)

        def scored(some: NewUsers) -> tuple[Tensor, Tensor]:
            scores = self.all_scores(some).cpu()
            chance = self.rates and by == "likely"
            order = self.map.likely(scores, self.spread) if chance else scores
            return order, self.in_range(scores)

        answer = self._best(new, scored, topk, "score")
        more = {"spread": self.spread} if self.rates else {}
        return Answer(answer.table.assign(**more), answer.counts)

    def ask_next(
        self,
        users: pd.DataFrame | None = None,
        ratings: pd.DataFrame | None = None,
        topk: int = 5,
    ) -> Answer:
        """The items to ask a user about next, the best ones first; see :meth:`worth_asking`.

        Args:
            users: see :meth:`recommend`.
            ratings: the answers so far, as ratings.
            topk: the number of items.
        """

        def scored(some: NewUsers) -> tuple[Tensor, Tensor]:
            worth = self.worth_asking(some).cpu()
            return worth, worth

        return self._best(self._read(users, ratings), scored, topk, "worth")

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
        everyone = described(names, users)
        if ratings is not None:
            check_columns("ratings", ratings, [self.user])
            ratings = ratings[ratings[self.user].astype(str).isin(everyone[self.user])]
        new = self._read(everyone, ratings)
        items = torch.tensor([known.get(token_of(cell), 0) for cell in pairs[self.item]])
        where = torch.from_numpy(pd.Index(new.names).get_indexer(names))
        found = torch.full((len(pairs),), float("nan"))
        asked = items > 0
        if asked.any():
            slots, padded = side_by_side(where[asked], items[asked], len(new))
            found[asked] = self.in_range(self.scores(new, padded)[where[asked], slots]).cpu()
        counts = {**new.counts, "unknown items asked for": int((items == 0).sum())}
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
    def _best(self, new: NewUsers, scored: Scored, topk: int, name: str) -> Answer:
        """The first items of each user; ``name`` is the column of the scores that are shown."""
        topk = integer({"topk": topk}, "topk", minimum=1)
        tokens = [str(token) for token in self.dataset.field2id_token[self.item]]
        rows: list[dict[str, Any]] = []
        for at in range(0, len(new), USERS_AT_ONCE):
            some = new.part(slice(at, at + USERS_AT_ONCE))
            order, shown = scored(some)
            order = order.scatter(1, some.ratings.items, -torch.inf)
            order[:, 0] = -torch.inf  # padding
            best = order.topk(min(topk, order.shape[1]))
            values = shown.gather(1, best.indices).masked_fill(best.values == -torch.inf, torch.nan)
            lists = zip(some.names, values.tolist(), best.indices.tolist(), strict=True)
            rows += [
                {self.user: user, "rank": rank, self.item: tokens[item], name: value}
                for user, found, items in lists
                for rank, (value, item) in enumerate(zip(found, items, strict=True), start=1)
                if value == value
            ]
        table = pd.DataFrame(rows, columns=[self.user, "rank", self.item, name])
        if self.item_columns is not None:
            taken = {name: f"{name} of the item" for name in table.columns}
            table = table.join(self.item_columns.rename(columns=taken), on=self.item)
        return Answer(table, new.counts)
