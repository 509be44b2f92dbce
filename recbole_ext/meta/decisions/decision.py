"""The interface of every decision: it adapts to a support set and then scores items."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from recbole_ext.meta.adapting.inner_loop import Weights
from recbole_ext.meta.adapting.inner_optimizers import Tensors
from recbole_ext.meta.decisions.content import ContentEmbedding
from recbole_ext.meta.tasks.task_set import Ratings


class Decision(Protocol):
    """A module with separate weights for each task; only these weights adapt."""

    def adapt(self, start: Tensors, users: Tensor, support: Ratings, targets: Tensor) -> Weights:
        """Each task's weights after it has seen its support set.

        Args:
            start: the weights before, with a leading dimension of tasks.
            users: shape: [tasks]
            support: the support sets of the tasks.
            targets: the values to fit, one for each rating, shape: [tasks, ratings]
        """

    def __call__(self, users: Tensor, items: Tensor, weights: Weights) -> Tensor:
        """Predicted targets, shape: [tasks, items].

        Args:
            users: shape: [tasks]
            items: shape: [tasks, items]
            weights: the weights of the tasks, from :meth:`adapt`.
        """


class PlainDecision(Decision, Protocol):
    """A decision whose tasks all start from the same weights, as in MeLU."""

    def start(self, users: Tensor) -> Tensors:
        """The weights before they adapt, for users of shape [tasks]."""


class RememberingDecision(Decision, Protocol):
    """A decision whose tasks start from values that are read from memories, as in MAMO."""

    @property
    def user_content(self) -> ContentEmbedding:
        """The embeddings of the users, by which the memories are read."""

    @property
    def weight_size(self) -> int:
        """The number of weights for which the memory of features has a bias."""

    @property
    def preference_shape(self) -> tuple[int, ...]:
        """The shape of one task's value in the memory of tasks."""

    def start(self, users: Tensor, bias: Tensor | None, preference: Tensor | None) -> Tensors:
        """The weights before they adapt.

        Args:
            users: shape: [tasks]
            bias: read from the memory of features, shape: [tasks, weight_size]; ``None`` if there
                is no such memory.
            preference: read from the memory of tasks, shape: [tasks, *preference_shape]; ``None``
                if there is no such memory.
        """

    def to_remember(
        self, start: Tensors, adapted: Weights, support: Ratings
    ) -> tuple[Tensor, Tensor]:
        """The values of a batch of tasks that are written into the memories.

        Args:
            start: the tasks' weights before they adapted.
            adapted: the tasks' weights after they adapted.
            support: the support sets that they adapted to.

        Returns:
            The value for the memory of features, shape: [tasks, weight_size], and the one for the
            memory of tasks, shape: [tasks, *preference_shape]
        """
