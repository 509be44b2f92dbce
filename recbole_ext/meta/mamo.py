"""MAMO: memory-augmented meta-optimisation for new users and items.

Reference:
    Manqing Dong et al. "MAMO: Memory-Augmented Meta-Optimization for Cold-start Recommendation."
    KDD 2020.
"""

from __future__ import annotations

import torch
from recbole.config import Config
from torch import Tensor

from recbole_ext.meta.adapting.inner_loop import Weights
from recbole_ext.meta.adapting.inner_optimizers import Tensors
from recbole_ext.meta.decision_recommender import DecisionRecommender
from recbole_ext.meta.decisions.decision import RememberingDecision
from recbole_ext.meta.decisions.preference_decision import PreferenceDecision
from recbole_ext.meta.decisions.rating_heads import ClassHead, ValueHead, rating_levels
from recbole_ext.meta.decisions.remembering_decisions import PriorListDecision, PriorRidgeDecision
from recbole_ext.meta.memory import FeatureMemory, TaskMemory
from recbole_ext.meta.memory_settings import MemorySettings
from recbole_ext.meta.tasks.dataset import ColdStartDataset
from recbole_ext.meta.tasks.task_set import Predictor, TaskBatch
from recbole_ext.processes.shares import join_shares


class MAMO(DecisionRecommender):
    """A meta-learner that starts each task from memories of similar users.

    ``inner_solver: gradient`` is the paper's three networks. With ``ridge`` the memories give the
    prior mean of a user's vector.
    """

    decision: RememberingDecision
    settings_classes = (*DecisionRecommender.settings_classes, MemorySettings)

    def __init__(self, config: Config, dataset: ColdStartDataset) -> None:
        super().__init__(config, dataset)
        self.memory_settings = memory = MemorySettings.read(config)
        self.decision = self._decision(dataset)
        profile_size = self.decision.user_content.size
        self.feature_memory = self.task_memory = None
        if memory.feature_memory:
            size = self.decision.weight_size
            self.feature_memory = FeatureMemory(memory.memory_slots, profile_size, size)
        if memory.task_memory:
            self.task_memory = TaskMemory(memory.memory_slots, self.decision.preference_shape)

    def attend(self, users: Tensor) -> Tensor:
        """The attention of some users on each memory slot, shape: [tasks, slots].

        Without a feature memory, which holds the profiles, the attention is uniform.
        """
        if self.feature_memory is None:
            slots = self.memory_settings.memory_slots
            return torch.full((len(users), slots), 1 / slots, device=users.device)
        return self.feature_memory.attend(self.decision.user_content(users))

    def start(self, users: Tensor) -> Tensors:
        """The weights before they adapt, as the memories give them; shape as in the base class."""
        return self._start(users, self.attend(users))

    def calculate_loss(self, batch: TaskBatch) -> Tensor:
        """Mean over the tasks of the loss of their queries after adaptation, shape: [].

        In training the batch is then written into the memories.
        """
        attention = self.attend(batch.users)
        start = self._start(batch.users, attention)
        adapted = self.adapt_from(start, batch.users, batch.support)
        if self.training:
            self._write(attention, start, adapted, batch)
        return self.query_loss(batch, adapted).mean()

    def other_readings(self) -> dict[str, Predictor]:
        """For classes the most likely one as well; ``predict`` gives the expectation."""
        readings = super().other_readings()
        if self.memory_settings.head == "classes":
            readings["most likely class"] = self._most_likely
        return readings

    def _start(self, users: Tensor, attention: Tensor) -> Tensors:
        bias = preference = None
        if self.feature_memory is not None:
            bias = self.memory_settings.bias_strength * self.feature_memory.read(attention)
        if self.task_memory is not None:
            preference = self.task_memory.read(attention)
        return self.decision.start(users, bias, preference)

    @torch.no_grad()
    def _write(self, attention: Tensor, start: Tensors, adapted: Weights, batch: TaskBatch) -> None:
        settings = self.memory_settings
        gradient, preference = self.decision.to_remember(start, adapted, batch.support)
        profiles = self.decision.user_content(batch.users)
        if batch.share is not None:  # the tasks of all processes are written
            attention, gradient, preference, profiles = (
                join_shares(rows, batch.share)
                for rows in (attention, gradient, preference, profiles)
            )
        if self.feature_memory is not None:
            rates = settings.profile_write_rate, settings.gradient_write_rate
            self.feature_memory.write(attention, profiles, gradient, rates, settings.write_rule)
        if self.task_memory is not None:
            rate = settings.preference_write_rate
            self.task_memory.write(attention, preference, rate, settings.write_rule)

    def query_loss(self, batch: TaskBatch, adapted: Weights) -> Tensor:
        """The outer loss of each task, shape: [tasks]; that of classes is the cross-entropy."""
        if self.memory_settings.head == "regression":
            return super().query_loss(batch, adapted)
        decision, head = self._classes()
        outputs = decision.outputs(batch.users, batch.query.items, adapted)
        return head.error(outputs, batch.query.ratings, batch.query.mask)

    def _most_likely(self, batch: TaskBatch) -> Tensor:
        decision, head = self._classes()
        adapted = self.adapt(batch.users, batch.support)
        return head.most_likely(decision.outputs(batch.users, batch.query.items, adapted))

    def _classes(self) -> tuple[PreferenceDecision, ClassHead]:
        """The decision and its head, where the outputs are classes."""
        assert isinstance(self.decision, PreferenceDecision)
        assert isinstance(self.decision.head, ClassHead)
        return self.decision, self.decision.head

    def _decision(self, dataset: ColdStartDataset) -> RememberingDecision:
        if self.ranking is not None:
            return PriorListDecision(self.content(dataset, "user"), self.list_parts(dataset))
        if self.settings.inner_solver == "ridge":
            return PriorRidgeDecision(self.content(dataset, "user"), **self.ridge_parts(dataset))
        return self._gradient(dataset)

    def _gradient(self, dataset: ColdStartDataset) -> PreferenceDecision:
        head: ValueHead | ClassHead = ValueHead()
        if self.memory_settings.head == "classes":
            head = ClassHead(rating_levels(self.split.training_ratings[2]))
        return PreferenceDecision(
            self.content(dataset, "user"),
            self.item_profile(dataset),
            self.settings.mlp_hidden_size,
            self.settings.embedding_size,
            head,
            self.inner_settings,
        )
