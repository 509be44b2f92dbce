"""Recommendations of a general model, which places new users among those in its data set."""

from __future__ import annotations

from functools import cached_property

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import EvaluatorType
from torch import Tensor

from recbole_ext.tools.new_users.item_item import fold_in_of
from recbole_ext.tools.new_users.raw_tables import NewUsers
from recbole_ext.tools.new_users.recommender import Recommender
from recbole_ext.tools.new_users.taste_space import (
    place_by_choices,
    place_by_ratings,
    place_by_softmax,
)

MOST_OTHERS = 2000  # the most items that stand for all others


class FoldingRecommender(Recommender):
    """The recommender of LambdaOptMF, ResNetMF and RecBole's general models; it uses ratings only.

    A model that predicts ratings uses their values; for other models only the rated items count. A
    model of items on items has its own scores for a new user. Any other has a place for one among
    its own users, by the loss that it was trained with.
    """

    fields: list[str] = []  # noqa: RUF012 (none)

    def __init__(self, config: Config, model: GeneralRecommender, dataset: Dataset) -> None:
        super().__init__(config, model, dataset)
        self.rates = config["eval_type"] == EvaluatorType.VALUE
        self.value = config["RATING_FIELD"] if self.rates else None
        self._fold_in = fold_in_of(model)

    @torch.no_grad()
    def scores(self, users: NewUsers, items: Tensor) -> Tensor:
        """See :class:`Recommender`."""
        return self.all_scores(users).gather(1, items)

    @torch.no_grad()
    def all_scores(self, users: NewUsers) -> Tensor:
        """See :class:`Recommender`; a model that says nothing of a user leaves popularity."""
        if self._fold_in is None:
            return self.map.space.scores(self._places(users))
        rows = torch.zeros(len(users), self.dataset.item_num)
        scores = self._fold_in(rows.scatter_add(1, users.ratings.items, users.ratings.mask)).cpu()
        nothing = scores.amax(-1, keepdim=True) == scores.amin(-1, keepdim=True)
        return torch.where(nothing, self.map.popularity, scores)

    def chances(self, users: NewUsers) -> Tensor:
        """See :class:`Recommender`; a model that was trained by a softmax says it itself."""
        if self.config["loss"] == "softmax":
            return self.all_scores(users).softmax(-1)
        return super().chances(users)

    @property
    def spread(self) -> float:
        """See :class:`Recommender`."""
        return float(self.map.noise**0.5)

    @cached_property
    def _others(self) -> Tensor:
        random = torch.Generator().manual_seed(0)
        items = 1 + torch.randperm(self.dataset.item_num - 1, generator=random)
        return items[:MOST_OTHERS]

    def _places(self, users: NewUsers) -> Tensor:
        items, stars, mask = users.ratings.columns
        if self.rates:
            return place_by_ratings(self.map.space, items, stars, mask, self.map.noise)
        if self.config["loss"] == "softmax":
            return place_by_softmax(self.map.space, items, mask)
        return place_by_choices(self.map.space, items, mask, self._others)
