"""Recommendations of a meta-learner, which adapts to new users as in its evaluation."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from torch import Tensor

from recbole_ext.meta.judging.evidence import evidence_scores
from recbole_ext.meta.meta_recommender import MetaRecommender
from recbole_ext.tools.new_users.raw_tables import NewUsers
from recbole_ext.tools.new_users.recommender import Recommender


class AdaptingRecommender(Recommender):
    """The recommender of MeLU and MAMO, which use the users' content and ratings."""

    model: MetaRecommender

    def __init__(self, config: Config, model: MetaRecommender, dataset: Dataset) -> None:
        super().__init__(config, model, dataset)
        self._content = content = model.user_content
        self.fields = [] if content is None else content.fields
        self.value = config["RATING_FIELD"]

    @torch.no_grad()
    def scores(self, users: NewUsers, items: Tensor) -> Tensor:
        """See :class:`Recommender`."""
        model = self.model
        rows: Any = nullcontext(torch.zeros(len(users), dtype=torch.long))
        if self._content is not None:
            rows = self._content.more_rows([users.content[name] for name in self.fields])
        with rows as ids:
            ids, support = ids.to(model.device), users.ratings.to(model.device)
            adapted = model.adapt(ids, support)
            return model.answer(ids, items.to(model.device), support, adapted)

    def in_range(self, scores: Tensor) -> Tensor:
        """Limit predicted ratings to the range of the training ratings."""
        return self.model.in_range(scores)

    def worth_asking(self, users: NewUsers) -> Tensor:
        """The scores of evidence candidates: see :mod:`recbole_ext.meta.judging.evidence`."""
        return self._evidence.expand(len(users), -1)

    @cached_property
    def _evidence(self) -> Tensor:
        return evidence_scores(self.model)[0]
