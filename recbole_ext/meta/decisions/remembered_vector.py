"""MAMO's memories in front of a decision that has one vector for each user."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_ext.meta.adapting.factored_weight import dense
from recbole_ext.meta.adapting.inner_loop import Weights
from recbole_ext.meta.adapting.inner_optimizers import Tensors
from recbole_ext.meta.decisions.content import ContentEmbedding
from recbole_ext.meta.tasks.task_set import Ratings


class RememberedVector(nn.Module):
    """A user's vector starts at ``φ − bias + preference``, with a learnt ``φ``.

    The vector takes the place of ``θ_u`` and of the preference matrix in the paper's networks. This
    class goes before that of a decision, among its base classes.
    """

    size: int

    def remember_by(self, user_content: ContentEmbedding) -> None:
        """Take the embeddings of the users by which the memories are read."""
        self.user_content = user_content
        self.vector = nn.Parameter(torch.zeros(self.size))
        self.weight_size = self.size
        self.preference_shape = (self.size,)

    def start(self, users: Tensor, bias: Tensor | None, preference: Tensor | None) -> Tensors:
        """Each user's vector before it adapts, shape: [tasks, size].

        Args:
            users: shape: [tasks]
            bias: read from the memory of features, shape: [tasks, size]
            preference: read from the memory of tasks, shape: [tasks, size]
        """
        start = self.vector.expand(len(users), -1)
        start = start if bias is None else start - bias
        return [start if preference is None else start + preference]

    def to_remember(
        self, start: Tensors, adapted: Weights, support: Ratings
    ) -> tuple[Tensor, Tensor]:
        """The start minus the user's vector, and the vector itself; shape: [tasks, size] each.

        Args:
            start: the vectors before they adapted.
            adapted: the users' vectors.
            support: unused.
        """
        vector = dense(adapted[0])
        return start[0] - vector, vector
