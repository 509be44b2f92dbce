"""A decision network that adapts to a user by gradient steps on all its layers, as in MeLU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_ext.data.tasks import Ratings
from recbole_ext.functional.inner_loop import mean_error, mlp
from recbole_ext.functional.inner_optimizers import Weights
from recbole_ext.layers.content import ContentEmbedding
from recbole_ext.layers.inner_loop import InnerLoop, InnerLoopSettings, for_each, network_weights
from recbole_ext.layers.item_profile import ItemProfile


class GradientDecision(nn.Module):
    """Layers with ReLU between them and one output, on the embeddings of a user and an item.

    Only the layers adapt; the embeddings stay as they are.

    Args:
        user_content: of the users.
        items: what items are known by.
        hidden: sizes of the hidden layers.
        inner: how they adapt.

    Reference:
        Lee et al. "MeLU." KDD 2019, equations 3 and 4, and Algorithm 1.
    """

    def __init__(
        self,
        user_content: ContentEmbedding,
        items: ItemProfile,
        hidden: list[int],
        inner: InnerLoopSettings,
    ) -> None:
        super().__init__()
        self.user_content, self.items = user_content, items
        self.weights = network_weights([user_content.size + items.size, *hidden, 1])
        self.inner = InnerLoop(inner, len(self.weights))

    def start(self, users: Tensor) -> Weights:
        """The weights before any step, for each of some users."""
        return for_each(self.weights, len(users))

    def adapt(self, start: Weights, users: Tensor, support: Ratings, targets: Tensor) -> Weights:
        """Each task's weights after the inner steps.

        Args:
            start: those before them.
            users: shape: [tasks]
            support: of the tasks.
            targets: what its ratings count as, shape: [tasks, ratings]
        """
        inputs = self._inputs(users, support.items)

        def loss(weights: Weights, part: slice) -> Tensor:
            predicted = mlp(inputs[:, part], weights).squeeze(-1)
            return mean_error(predicted, targets[:, part], support.mask[:, part])

        return self.inner(start, loss, support.mask)

    def forward(self, users: Tensor, items: Tensor, weights: Weights) -> Tensor:
        """Shape: [tasks, items].

        Args:
            users: shape: [tasks]
            items: shape: [tasks, items]
            weights: the tasks', from :meth:`adapt`.
        """
        return mlp(self._inputs(users, items), weights).squeeze(-1)

    def _inputs(self, users: Tensor, items: Tensor) -> Tensor:
        """Shape: [tasks, items, inputs]."""
        user = self.user_content(users).unsqueeze(1).expand(-1, items.shape[1], -1)
        return torch.cat([user, self.items(items)], dim=-1)
