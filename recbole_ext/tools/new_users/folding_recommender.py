"""Recommendations of a general model, which places new users among those in its data set."""

from __future__ import annotations

from functools import cached_property

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import EvaluatorType
from torch import Tensor

from recbole_ext.tools.new_users.raw_tables import NewUsers
from recbole_ext.tools.new_users.recommender import Recommender
from recbole_ext.tools.new_users.taste_space import (
    TasteSpace,
    place_by_choices,
    place_by_ratings,
    taste_space,
)

# The most users whose scores make the space, and the most items that stand for all others
MOST_USERS, MOST_OTHERS = 4000, 2000
USERS_IN_A_BATCH = 256
DEFAULT_RANK = 64
ALIKE = 1e-10  # relative variance between users' scores that may come from rounding


class FoldingRecommender(Recommender):
    """The recommender of LambdaOptMF, ResNetMF and RecBole's general models; it uses ratings only.

    A model that predicts ratings uses their values; for other models only the rated items count.
    """

    fields: list[str] = []  # noqa: RUF012 (none)

    def __init__(self, config: Config, model: GeneralRecommender, dataset: Dataset) -> None:
        super().__init__(config, model, dataset)
        self._rates = config["eval_type"] == EvaluatorType.VALUE
        self.value = config["RATING_FIELD"] if self._rates else None

    @torch.no_grad()
    def scores(self, users: NewUsers, items: Tensor) -> Tensor:
        """See :class:`Recommender`."""
        return self.space.scores(self._places(users)).gather(1, items)

    @torch.no_grad()
    def worth_asking(self, users: NewUsers) -> Tensor:
        """The uncertainty of each item's score times the item's popularity.

        Raises:
            ValueError: if the model has the same scores for all users.
        """
        mean, axes, variance = self.space
        noise = self.noise
        if variance.sum() <= ALIKE * mean.square().sum():
            raise ValueError(
                f"{type(self.model).__name__} has the same list for everybody, so that there is "
                "nothing to ask; it recommends without"
            )
        rows = axes[users.ratings.items] * users.ratings.mask.unsqueeze(-1)
        precision = rows.mT @ rows / noise + torch.diag(1 / variance)
        uncertain = (axes.mT * torch.linalg.solve(precision, axes.mT)).sum(1)
        return uncertain * self._popularity

    @cached_property
    def space(self) -> TasteSpace:
        """The axes of taste of the model's own users."""
        rank = self.config["embedding_size"] or DEFAULT_RANK
        return taste_space(self._known_scores[1], int(rank) + 2)  # 2 more for the biases

    @cached_property
    def noise(self) -> float:
        """The variance of training ratings around their scores; 1 without predicted ratings."""
        if not self._rates:
            return 1.0
        chosen, scores = self._known_scores
        place = torch.full((self.dataset.user_num,), -1)
        place[chosen] = torch.arange(len(chosen))
        ratings = self.dataset.inter_feat
        rows = place[ratings[self.user]]
        known = rows >= 0
        errors = scores[rows[known], ratings[self.item][known]] - ratings[self.value][known]
        return max(float(errors.square().mean()), 1e-6)

    @cached_property
    @torch.no_grad()
    def _known_scores(self) -> tuple[Tensor, Tensor]:
        """Some of the model's users, and their scores of all items, shape: [users, n_items]."""
        random = torch.Generator().manual_seed(0)
        users = 1 + torch.randperm(self.dataset.user_num - 1, generator=random)[:MOST_USERS]
        parts = []
        for some in users.split(USERS_IN_A_BATCH):
            asked = Interaction({self.user: some}).to(self.model.device)
            try:
                scores = self.model.full_sort_predict(asked).view(len(some), -1)
            except NotImplementedError:
                raise ValueError(
                    f"{type(self.model).__name__} does not score all items (full_sort_predict), "
                    "so that new users cannot be placed among its own"
                ) from None
            parts.append(scores.float().cpu())
        found = torch.cat(parts)
        found[:, 0] = 0.0  # the padding item
        return users, found

    @cached_property
    def _popularity(self) -> Tensor:
        counts = self.dataset.inter_feat[self.item].bincount(minlength=self.dataset.item_num)
        return counts / counts.max()

    @cached_property
    def _others(self) -> Tensor:
        random = torch.Generator().manual_seed(0)
        items = 1 + torch.randperm(self.dataset.item_num - 1, generator=random)
        return items[:MOST_OTHERS]

    def _places(self, users: NewUsers) -> Tensor:
        items, stars, mask = users.ratings.columns
        if self._rates:
            return place_by_ratings(self.space, items, stars, mask, self.noise)
        return place_by_choices(self.space, items, mask, self._others)
