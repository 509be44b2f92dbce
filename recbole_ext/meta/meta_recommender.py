"""The base class of all meta-learners: it answers RecBole's calls from support sets."""

from __future__ import annotations

from abc import abstractmethod
from logging import getLogger
from typing import Any

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import EvaluatorType, InputType
from torch import Tensor

from recbole_ext.meta.adapting.inner_loop import Weights
from recbole_ext.meta.adapting.inner_optimizers import Tensors
from recbole_ext.meta.decisions.content import ContentEmbedding
from recbole_ext.meta.task_settings import TaskSettings
from recbole_ext.meta.tasks.dataset import TASK_FIELD, ColdStartDataset
from recbole_ext.meta.tasks.task_set import Predictor, Ratings, TaskBatch, TaskSet, side_by_side
from recbole_ext.settings.declared import Declared, Settings
from recbole_ext.settings.ratings import check_rating_settings, derived_rating_settings, ranks


class MetaRecommender(GeneralRecommender):
    """A model that adapts to a user's support set and then scores items.

    A model of its own needs :meth:`start`, :meth:`adapt`, :meth:`score` and :meth:`loss`.
    """

    input_type = InputType.POINTWISE
    settings_classes: tuple[type[Declared], ...] = (TaskSettings,)
    variant_key = "task"  # MetaRecommender-ranking.yaml holds the defaults of task: ranking

    def __init__(self, config: Config, dataset: ColdStartDataset) -> None:
        super().__init__(config, dataset)
        if not hasattr(dataset, "split"):
            raise TypeError(
                f"{type(self).__name__} needs a part of a built ColdStartDataset, got a "
                f"{type(dataset).__name__} without tasks; call build() first"
            )
        self.split = dataset.split
        ratings = self.split.training_ratings[2]
        self.rating_range = float(ratings.min()), float(ratings.max())
        self.judged_as_ratings = config["eval_type"] == EvaluatorType.VALUE
        place = torch.full((self.n_users,), -1)
        place[self.split.known.users] = torch.arange(len(self.split.known))
        self._known_place = place
        self._warned = False
        self.tasks = TaskSettings.read(config)

    @classmethod
    def check_hyperparameters(cls, config: Settings) -> None:
        """Refuse settings of RecBole's that a meta-learner does not go with, before data is loaded.

        Raises:
            ValueError: naming the key and its value.
        """
        check_rating_settings(config)
        for key in ("enable_amp", "enable_scaler"):
            if config[key]:
                raise ValueError(f"{key} must be False: {cls.__name__} trains in full precision")
        if config["benchmark_filename"]:
            raise ValueError(
                f"benchmark_filename must be empty, got {config['benchmark_filename']!r}: "
                f"{cls.__name__} makes its own split; a column of yours is scenario_field"
            )
        ignored = [key for key in ("split", "order", "group_by") if key in config["eval_args"]]
        if ignored:
            getLogger().warning(
                f"eval_args: {cls.__name__} makes its own split into users and items, cold and "
                f"warm (cold_user_ratio and others); {', '.join(ignored)} are passed over"
            )
        if config["task"] == "ranking" and not ranks(config):
            raise ValueError(
                f"metrics must be of lists for task: ranking, such as [NDCG, Recall]; got "
                f"{config['metrics']!r}"
            )
        if config["warm_evaluation"] == "training" and ranks(config):
            raise ValueError(
                "warm_evaluation: training is for value metrics: a ranking would be of training "
                "queries; set warm_evaluation: held_out"
            )

    @classmethod
    def derived_settings(cls, config: Settings) -> dict[str, Any]:
        """Defaults that depend on other settings: the label, and the evaluation of rankings."""
        return derived_rating_settings(config)

    @abstractmethod
    def adapt(self, users: Tensor, support: Ratings) -> Weights:
        """Adapt to the support sets, each task on its own.

        Args:
            users: shape: [tasks]
            support: the support sets of the same tasks.
        """

    @abstractmethod
    def start(self, users: Tensor) -> Tensors:
        """The weights before they adapt: tensors with a leading dimension of tasks.

        Args:
            users: shape: [tasks]
        """

    @abstractmethod
    def score(self, users: Tensor, items: Tensor, support: Ratings, adapted: Weights) -> Tensor:
        """Predicted ratings of some items for each task, shape: [tasks, items].

        Args:
            users: shape: [tasks]
            items: shape: [tasks, items]
            support: the support sets of the same tasks.
            adapted: the result of :meth:`adapt` for the same tasks.
        """

    @abstractmethod
    def loss(self, predicted: Tensor, query: Ratings) -> Tensor:
        """The outer loss of each task, shape: [tasks].

        Args:
            predicted: shape: [tasks, ratings]
            query: the queries of the same tasks.
        """

    def answer(self, scores: Tensor, users: Tensor, items: Tensor) -> Tensor:
        """What is given out in place of scores, as predicted ratings, shape: [tasks, items].

        Args:
            scores: shape: [tasks, items]
            users: shape: [tasks]
            items: shape: [tasks, items]
        """
        return scores

    def prepare_validation(self) -> None:
        """Called before each validation; a model may fit to the validation tasks what it answers.

        Whatever the training minimises may not depend on it.
        """

    @property
    def user_content(self) -> ContentEmbedding | None:
        """What describes users to the model; ``None`` for a model that knows their ratings only."""
        return None

    def predict_tasks(self, batch: TaskBatch) -> Tensor:
        """Adapt to each support set, then predict the query, shape: [tasks, ratings]."""
        return self.answer(self.score_queries(batch), batch.users, batch.query.items)

    def score_queries(self, batch: TaskBatch) -> Tensor:
        """Adapt to each support set, then score the query, shape: [tasks, ratings]."""
        adapted = self.adapt(batch.users, batch.support)
        return self.score(batch.users, batch.query.items, batch.support, adapted)

    def other_readings(self) -> dict[str, Predictor]:
        """Other predictions of the model, by name; a test reports them as well."""
        return {}

    def calculate_loss(self, batch: TaskBatch) -> Tensor:
        """The mean loss of the tasks' queries after adaptation, shape: []."""
        return self.query_loss(batch, self.adapt(batch.users, batch.support)).mean()

    def query_loss(self, batch: TaskBatch, adapted: Weights) -> Tensor:
        """The outer loss of each task that has adapted, shape: [tasks]."""
        query = batch.query
        return self.loss(self.score(batch.users, query.items, batch.support, adapted), query)

    def score_all(self, users: Tensor, support: Ratings, adapted: Weights) -> Tensor:
        """The scores of all items, shape: [tasks, n_items]; see :meth:`score`."""
        return self.score(users, self._every(users), support, adapted)

    def answer_all(self, users: Tensor, support: Ratings, adapted: Weights) -> Tensor:
        """What is given out for all items, shape: [tasks, n_items]; see :meth:`answer`."""
        return self.answer(self.score_all(users, support, adapted), users, self._every(users))

    def _every(self, users: Tensor) -> Tensor:
        return torch.arange(self.n_items, device=self.device).expand(len(users), -1)

    def predict(self, interaction: Interaction) -> Tensor:
        """Predict ratings; for value metrics within the range of the training ratings.

        Args:
            interaction: users and items. If the column ``task_id`` of the evaluation parts is
                there, each row is predicted from the support set of its task, otherwise from all
                known ratings of its user.

        Returns:
            shape: [batch_size]
        """
        users, items = interaction[self.USER_ID], interaction[self.ITEM_ID]
        if TASK_FIELD in interaction:
            batch, where = self._tasks(self.split.evaluation, interaction[TASK_FIELD])
        else:
            batch, where = self._known(users)
        slots, padded = side_by_side(where, items, len(batch))
        adapted = self.adapt(batch.users, batch.support)
        scores = self.score(batch.users, padded, batch.support, adapted)
        scores = self.answer(scores, batch.users, padded)
        return self.in_range(scores[where, slots])

    def in_range(self, scores: Tensor) -> Tensor:
        """Scores within the range of the training ratings; ranked ones stay, as limits tie."""
        return scores.clamp(*self.rating_range) if self.judged_as_ratings else scores

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Score all items for each user, from all known ratings of the user.

        Args:
            interaction: the users.

        Returns:
            shape: [batch_size * n_items]
        """
        batch, where = self._known(interaction[self.USER_ID])
        adapted = self.adapt(batch.users, batch.support)
        return self.answer_all(batch.users, batch.support, adapted)[where].view(-1)

    def _tasks(self, tasks: TaskSet, ids: Tensor) -> tuple[TaskBatch, Tensor]:
        """A batch of the distinct tasks among ``ids``, and the place of each id in it."""
        distinct, where = ids.cpu().unique(return_inverse=True)
        return tasks.batch(distinct).to(self.device), where.to(self.device)

    def _known(self, users: Tensor) -> tuple[TaskBatch, Tensor]:
        """The known ratings of each distinct user as a support set, and each user's place in it."""
        distinct, where = users.cpu().unique(return_inverse=True)
        place = self._known_place[distinct]
        batch = self.split.known.batch(place.clamp(min=0))
        unknown = place < 0
        if unknown.any():
            if not self._warned and 0 not in self.tasks.support_sizes:
                getLogger().warning(
                    "some users have no support set; they are scored by the meta-initialisation "
                    "(said once)"
                )
                self._warned = True
            batch = batch.without_support(unknown, distinct)
        return batch.to(self.device), where.to(self.device)
