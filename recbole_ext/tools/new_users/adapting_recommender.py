"""Recommendations of a meta-learner, which adapts to new users as in its evaluation."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from torch import Tensor

from recbole_ext.meta.meta_recommender import MetaRecommender
from recbole_ext.tools.new_users.raw_tables import NewUsers
from recbole_ext.tools.new_users.recommender import USERS_AT_ONCE, Recommender


class AdaptingRecommender(Recommender):
    """The recommender of MeLU and MAMO, which use the users' content and ratings."""

    model: MetaRecommender

    def __init__(self, config: Config, model: MetaRecommender, dataset: Dataset) -> None:
        super().__init__(config, model, dataset)
        self._content = content = model.user_content
        self.fields = [] if content is None else content.fields
        self.rates = config["task"] != "ranking"
        self.value = config["RATING_FIELD"] if self.rates else None

    @torch.no_grad()
    def scores(self, users: NewUsers, items: Tensor) -> Tensor:
        """See :class:`Recommender`."""
        model, support = self.model, users.ratings.to(self.model.device)
        with self._users(users) as rows:
            ids = rows.to(model.device)
            adapted = model.adapt(ids, support)
            asked = items.to(model.device)
            return model.answer(model.score(ids, asked, support, adapted), ids, asked)

    @torch.no_grad()
    def all_scores(self, users: NewUsers) -> Tensor:
        """See :class:`Recommender`."""
        model, support = self.model, users.ratings.to(self.model.device)
        with self._users(users) as rows:
            ids = rows.to(model.device)
            return model.answer_all(ids, support, model.adapt(ids, support))

    def chances(self, users: NewUsers) -> Tensor:
        """See :class:`Recommender`; a model of lists says it itself."""
        return self.all_scores(users).cpu().softmax(-1)

    def in_range(self, scores: Tensor) -> Tensor:
        """Limit predicted ratings to the range of the training ratings."""
        return self.model.in_range(scores)

    @cached_property
    @torch.no_grad()
    def spread(self) -> float:
        """See :class:`Recommender`; it is the RMSE of the validation tasks."""
        split = self.model.split
        errors = []
        for tasks in split.is_valid.nonzero().squeeze(-1).split(USERS_AT_ONCE):
            valid = split.evaluation.batch(tasks).to(self.model.device)
            found = self.in_range(self.model.predict_tasks(valid))
            errors.append((found - valid.query.ratings)[valid.query.mask > 0])
        return max(float(torch.cat(errors).square().mean().sqrt()), 1e-3)

    def _users(self, users: NewUsers) -> AbstractContextManager[Tensor]:
        """The users' rows in the model's tables while it answers, shape: [users]."""
        if self._content is None:
            return nullcontext(torch.zeros(len(users), dtype=torch.long))
        return self._content.more_rows([users.content[name] for name in self.fields])
