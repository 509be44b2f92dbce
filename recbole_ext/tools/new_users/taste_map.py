"""Where a model's own users lie, which says what is not known of a new one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TypeAlias

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from torch import Tensor

from recbole_ext.tools.new_users.raw_tables import NewUsers
from recbole_ext.tools.new_users.taste_space import TasteSpace, taste_space

# The scores of all items that order a list and those that are shown, shape: [users, n_items] each
Scored: TypeAlias = Callable[[NewUsers], tuple[Tensor, Tensor]]
# What a list may be ordered by, and how this is said to a reader
ORDERS = {"likely": "likely to like", "rating": "predicted rating"}
MOST_USERS = 4000  # the most users whose scores make the space
USERS_IN_A_BATCH = 256
DEFAULT_RANK = 64
ALIKE = 1e-10  # relative variance between users' scores that may come from rounding


class TasteMap:
    """The axes of taste of a model's own users.

    Args:
        config: the config of the run.
        model: the trained model.
        dataset: the training part of its data set.
        value: the column of ratings, if the model predicts them.
    """

    def __init__(
        self, config: Config, model: GeneralRecommender, dataset: Dataset, value: str | None
    ) -> None:
        self._config, self._model, self._dataset, self._value = config, model, dataset, value

    @cached_property
    def space(self) -> TasteSpace:
        """The axes, in the space of all items' scores."""
        rank = self._config["embedding_size"] or DEFAULT_RANK
        return taste_space(self._known_scores[1], int(rank) + 2)  # 2 more for the biases

    @cached_property
    def noise(self) -> float:
        """The variance of training ratings around their scores; 1 without predicted ratings."""
        if self._value is None:
            return 1.0
        chosen, scores = self._known_scores
        place = torch.full((self._dataset.user_num,), -1)
        place[chosen] = torch.arange(len(chosen))
        ratings = self._dataset.inter_feat
        rows = place[ratings[self._dataset.uid_field]]
        known = rows >= 0
        found = scores[rows[known], ratings[self._dataset.iid_field][known]]
        return max(float((found - ratings[self._value][known]).square().mean()), 1e-6)

    @cached_property
    def popularity(self) -> Tensor:
        """The share of users who have rated each item, shape: [n_items]."""
        items = self._dataset.inter_feat[self._dataset.iid_field]
        counts = items.bincount(minlength=self._dataset.item_num)
        return counts / max(self._dataset.user_num - 1, 1)

    @cached_property
    def luck(self) -> Tensor:
        """A random number for each item; the largest product with a weight is a draw by weights.

        Returns:
            shape: [n_items]

        Reference:
            Efraimidis, Spirakis. "Weighted random sampling with a reservoir." 2006.
        """
        random = torch.Generator().manual_seed(0)
        return -1 / torch.rand(self._dataset.item_num, generator=random).clamp(1e-6, 1 - 1e-6).log()

    def uncertain(self, items: Tensor, mask: Tensor) -> Tensor:
        """The variance of each item's score that is left when some are rated.

        Args:
            items: the items that new users have rated, shape: [users, ratings]
            mask: 1 for a rating, 0 for padding, shape: [users, ratings]

        Returns:
            shape: [users, n_items]
        """
        _, axes, variance = self.space
        rows = axes[items] * mask.unsqueeze(-1)
        precision = rows.mT @ rows / self.noise + torch.diag(1 / variance)
        return (axes.mT * torch.linalg.solve(precision, axes.mT)).sum(1)

    def check_tastes(self) -> None:
        """Refuse a model that has the same scores for all users.

        Raises:
            ValueError: names the model.
        """
        scores = self._known_scores[1]
        if (scores - scores.mean(0)).square().sum() <= ALIKE * scores.square().sum():
            raise ValueError(
                f"{type(self._model).__name__} has the same list for everybody, so that there is "
                "nothing to ask; it recommends without"
            )

    def likely(self, scores: Tensor, spread: float) -> Tensor:
        """How likely a user is to meet an item and to like it, as a logarithm.

        It is the item's share of users times the chance that its rating, which is normal around the
        predicted one, is above the mean of all ratings.

        Args:
            scores: predicted ratings, shape: [users, n_items]
            spread: the standard deviation of ratings around the predicted ones.
        """
        liked = self._dataset.inter_feat[self._value].mean()
        above = torch.special.log_ndtr((scores - liked) / spread)
        return above + self.popularity.clamp(min=1e-9).log()

    @cached_property
    @torch.no_grad()
    def _known_scores(self) -> tuple[Tensor, Tensor]:
        """Some of the model's users, and their scores of all items, shape: [users, n_items]."""
        random = torch.Generator().manual_seed(0)
        users = 1 + torch.randperm(self._dataset.user_num - 1, generator=random)[:MOST_USERS]
        parts = []
        for some in users.split(USERS_IN_A_BATCH):
            asked = Interaction({self._dataset.uid_field: some}).to(self._model.device)
            try:
                scores = self._model.full_sort_predict(asked).view(len(some), -1)
            except NotImplementedError:
                raise ValueError(
                    f"{type(self._model).__name__} does not score all items (full_sort_predict), "
                    "so that new users cannot be placed among its own"
                ) from None
            parts.append(scores.float().cpu())
        found = torch.cat(parts)
        found[:, 0] = 0.0  # the padding item
        return users, found
