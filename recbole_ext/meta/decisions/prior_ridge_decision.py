"""The ridge decision, each user's vector sought around what memories say of users alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_ext.meta.adapting.factored_weight import dense
from recbole_ext.meta.adapting.inner_loop import Weights
from recbole_ext.meta.adapting.inner_optimizers import Tensors
from recbole_ext.meta.decisions.content import ContentEmbedding
from recbole_ext.meta.decisions.ridge_decision import RidgeDecision
from recbole_ext.meta.tasks.task_set import Ratings


class PriorRidgeDecision(RidgeDecision):
    """MAMO's memories in front of a ridge regression.

    What ``θ_u`` and the preference matrix are to the paper's networks, a user's vector is here: it
    is sought around ``φ − bias + preference``, with ``φ`` learnt.

    Args:
        user_content: what memories are asked by.
        **ridge: as of :class:`~recbole_ext.meta.decisions.ridge_decision.RidgeDecision`.
    """

    def __init__(self, user_content: ContentEmbedding, **ridge: Any) -> None:
        super().__init__(**ridge)
        self.user_content = user_content
        self.vector = nn.Parameter(torch.zeros(self.size))
        self.weight_size = self.size
        self.preference_shape = (self.size,)

    def start(  # type: ignore[override]  # two more arguments
        self, users: Tensor, bias: Tensor | None, preference: Tensor | None
    ) -> Tensors:
        """Around what each user's vector is sought, shape: [tasks, size].

        Args:
            users: shape: [tasks]
            bias: what the memory of features says, shape: [tasks, size]
            preference: what the memory of tasks says, shape: [tasks, size]
        """
        start = self.vector.expand(len(users), -1)
        start = start if bias is None else start - bias
        return [start if preference is None else start + preference]

    def to_remember(
        self, start: Tensors, adapted: Weights, support: Ratings
    ) -> tuple[Tensor, Tensor]:
        """How far back the start is from the user's vector, and the vector; shape: [tasks, size].

        Args:
            start: before adaptation.
            adapted: after.
            support: not looked at.
        """
        vector = dense(adapted[0])
        return start[0] - vector, vector
