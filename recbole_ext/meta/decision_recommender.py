"""The base class of MeLU and MAMO: a decision network that adapts to a support set."""

from __future__ import annotations

from logging import getLogger
from typing import Any

import torch
from recbole.config import Config
from torch import Tensor

from recbole_ext.meta.adapting.factorization import item_factors
from recbole_ext.meta.adapting.inner_loop import Weights, mean_error
from recbole_ext.meta.adapting.inner_optimizers import Tensors
from recbole_ext.meta.adapting.list_loss import drawn_list_loss, list_loss
from recbole_ext.meta.decision_settings import DecisionSettings, RankingSettings
from recbole_ext.meta.decisions.bias_floor import fit_bias_floor
from recbole_ext.meta.decisions.combination import Combination
from recbole_ext.meta.decisions.content import ContentEmbedding
from recbole_ext.meta.decisions.decision import Decision
from recbole_ext.meta.decisions.item_profile import ItemProfile
from recbole_ext.meta.decisions.learnt_steps import InnerLoopSettings
from recbole_ext.meta.decisions.list_decision import ListDecision, ListParts
from recbole_ext.meta.decisions.neighbours import Neighbours, item_weights
from recbole_ext.meta.decisions.warm_embedding import WarmEmbedding, warm_items
from recbole_ext.meta.meta_recommender import MetaRecommender
from recbole_ext.meta.task_settings import TaskSettings
from recbole_ext.meta.tasks.dataset import ColdStartDataset
from recbole_ext.meta.tasks.task_set import Predictor, Ratings, TaskBatch
from recbole_ext.settings.declared import Declared


class DecisionRecommender(MetaRecommender):
    """A meta-learner whose ``decision`` adapts and scores; a subclass defines it and :meth:`start`.

    With ``residual`` the decision predicts the ratings minus a prediction from biases. With ``task:
    ranking`` its scores are for lists.
    """

    decision: Decision
    settings_classes: tuple[type[Declared], ...] = (
        TaskSettings,
        DecisionSettings,
        InnerLoopSettings,
        RankingSettings,
    )

    def __init__(self, config: Config, dataset: ColdStartDataset) -> None:
        super().__init__(config, dataset)
        self.settings = DecisionSettings.read(config)
        self.inner_settings = InnerLoopSettings.read(config)
        ranks = self.tasks.ranks
        self.ranking = RankingSettings.read(config) if ranks else None
        self.floor = None
        if self.settings.residual and not ranks:
            self.floor = fit_bias_floor(dataset, self.settings.user_shrinkage)
        self.neighbours = self._neighbours()
        self.combination = None
        if self.settings.combination != "none" and self.judged_as_ratings and not ranks:
            bias = self.floor or fit_bias_floor(dataset, self.settings.user_shrinkage)
            self.combination = Combination(bias, self.split.training_ratings, self.n_users)

    @property
    def user_content(self) -> ContentEmbedding | None:
        """The decision's embedding of users, if it has one."""
        return getattr(self.decision, "user_content", None)

    def adapt(self, users: Tensor, support: Ratings) -> Weights:
        """The weights of each task's decision; the arguments are those of the base class."""
        return self.adapt_from(self.start(users), users, support)

    def adapt_from(self, start: Tensors, users: Tensor, support: Ratings) -> Weights:
        """The same as :meth:`adapt`, but from the weights ``start``."""
        targets = support.ratings
        if self.floor is not None:
            targets = targets - self.floor(support.items, support)
        return self.decision.adapt(start, users, support, targets)

    def score(self, users: Tensor, items: Tensor, support: Ratings, adapted: Weights) -> Tensor:
        """Predicted ratings, shape: [tasks, items]; the arguments are those of the base class."""
        scores = self.decision(users, items, adapted)
        if self.floor is not None:
            scores = scores + self.floor(items, support)
        if self.neighbours is not None and not self.training:  # they were fitted to the queries
            scores = scores + self.neighbours(support).gather(1, items)
        return scores

    def score_all(self, users: Tensor, support: Ratings, adapted: Weights) -> Tensor:
        """The scores of all items, shape: [tasks, n_items]; see :meth:`score`."""
        if not isinstance(self.decision, ListDecision):
            return super().score_all(users, support, adapted)
        scores = self.decision.all_items(adapted)
        return scores if self.neighbours is None else scores + self.neighbours(support)

    def query_loss(self, batch: TaskBatch, adapted: Weights) -> Tensor:
        """The outer loss of each task, shape: [tasks]; for lists each wanted item counts alike."""
        if self.ranking is None or not isinstance(self.decision, ListDecision):
            return super().query_loss(batch, adapted)
        given, query = batch.support.items, batch.query
        number = self.ranking.softmax_items
        if number is None or number >= self.n_items - 1:
            losses = list_loss(self.decision.all_items(adapted), given, query.items, query.mask)
        else:
            drawn = 1 + torch.randperm(self.n_items - 1, device=given.device)[:number]
            items = torch.cat([drawn.expand(len(given), -1), query.items], dim=1)
            scores = self.decision(batch.users, items, adapted)
            losses = drawn_list_loss(scores, drawn, query.items, given, query.mask, self.n_items)
        return losses / query.mask.sum(-1).clamp(min=1)

    def answer(self, scores: Tensor, users: Tensor, items: Tensor) -> Tensor:
        """The median or mean of the rating levels; the arguments are those of the base class."""
        if self.combination is None:
            return scores
        reading = self.settings.combination
        read = self.combination.median if reading == "median" else self.combination.mean
        return read(scores, users, items)

    def other_readings(self) -> dict[str, Predictor]:
        """Where the median is predicted the expected rating as well."""
        if self.combination is None or self.settings.combination == "mean":
            return {}
        return {"expected rating": self._expected}

    def prepare_validation(self) -> None:
        """Fit the combination to the validation tasks."""
        if self.combination is not None:
            self.eval()
            self.combination.fit_to_tasks(self.split, self.tasks, self._scores)

    def loss(self, predicted: Tensor, query: Ratings) -> Tensor:
        """Mean squared or absolute error of each task, shape: [tasks]."""
        return mean_error(predicted, query.ratings, query.mask, self.settings.outer_loss)

    def _scores(self, batch: TaskBatch) -> Tensor:
        return self.score_queries(batch.to(self.device))

    def _expected(self, batch: TaskBatch) -> Tensor:
        assert self.combination is not None
        return self.combination.mean(self._scores(batch), batch.users, batch.query.items)

    def content(self, dataset: ColdStartDataset, side: str) -> ContentEmbedding:
        """Embeddings of the content of one side, ``user`` or ``item``."""
        users, items, _ = self.split.training_ratings
        seen = users if side == "user" else items
        return ContentEmbedding(
            dataset,
            side,
            dataset.content_fields(side),
            self.settings.embedding_size,
            seen.unique() if self.settings.zero_unseen_values else None,
        )

    def item_profile(self, dataset: ColdStartDataset) -> ItemProfile:
        """The items' features for a network that adapts by gradient steps."""
        own = None
        if self.settings.item_embedding:
            own = self._vectors(self.settings.embedding_size, std=0.1)
        return ItemProfile(self.content(dataset, "item"), own)

    def ridge_parts(self, dataset: ColdStartDataset) -> dict[str, Any]:
        """The arguments of :class:`~recbole_ext.meta.decisions.ridge_decision.RidgeDecision`."""
        settings = self.settings
        size = settings.factor_size
        own = self._vectors(size, std=0.1) if settings.item_embedding else None
        if own is not None and settings.factorized_start:
            self._start_from_factors(own)
        return {
            "content": self.content(dataset, "item"),
            "hidden": settings.mlp_hidden_size,
            "size": size,
            "strength": settings.ridge_strength,
            "own": own,
            "traces": self._vectors(size, std=0.0) if settings.rated_items else None,
        }

    def list_parts(self, dataset: ColdStartDataset) -> ListParts:
        """The parts of a decision for lists."""
        assert self.ranking is not None
        settings, size = self.settings, self.settings.factor_size
        items = self.split.training_ratings[1]
        counts = items.bincount(minlength=self.n_items).to(torch.get_default_dtype())
        by_steps = settings.inner_solver == "gradient"
        return ListParts(
            popularity=(counts + 1).log(),
            own=self._vectors(size, std=0.1),
            traces=self._vectors(size, std=0.1) if settings.rated_items else None,
            content=self.content(dataset, "item") if self.ranking.item_content else None,
            user_content=self.content(dataset, "user") if self.ranking.content_start else None,
            inner=self.inner_settings if by_steps else None,
            left_out=self.ranking.item_dropout,
        )

    def _neighbours(self) -> Neighbours | None:
        if self.ranking is None or self.ranking.neighbour_weight == 0:
            return None
        if self.n_items > self.ranking.neighbour_items:
            getLogger().warning(
                f"neighbour_weight is left out: {self.n_items} items are more than "
                f"neighbour_items: {self.ranking.neighbour_items}"
            )
            return None
        users, items, _ = self.split.training_ratings
        weights = item_weights(users, items, self.n_items, self.ranking.neighbour_strength)
        return Neighbours(weights, self.ranking.neighbour_weight)

    def _vectors(self, size: int, std: float) -> WarmEmbedding:
        warm = warm_items(self.split.training_ratings[1], self.n_items)
        return WarmEmbedding(warm, size, std)

    def _start_from_factors(self, own: WarmEmbedding) -> None:
        """Put a matrix factorisation of the training ratings into the items' vectors."""
        size, strength = self.settings.factorized_start, self.settings.ridge_strength
        users, items, ratings = self.split.training_ratings
        targets = ratings - ratings.mean()
        if self.floor is not None:
            targets = self.floor.residuals(users, items, ratings)
        factors = item_factors(users, items, targets, self.n_items, size, strength)
        with torch.no_grad():
            own.rows.weight[:, :size] = factors
