"""A decision network that adapts to a user by gradient steps on all its layers, as in MeLU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_ext.data.tasks import Ratings
from recbole_ext.functional.factored_weight import dense, linear
from recbole_ext.functional.inner_loop import Parts, Weights, mean_error, mlp
from recbole_ext.functional.inner_optimizers import Tensors
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
        self.inner = InnerLoop(inner, [0, *range(len(self.weights))])

    def start(self, users: Tensor) -> Tensors:
        """The weights before any step, for each of some users.

        The first layer's is in two, that of the user's embedding and that of the item's: what is
        made of the user is then the same for all items.
        """
        first, *others = for_each(self.weights, len(users))
        return [*first.split([self.user_content.size, self.items.size], dim=1), *others]

    def adapt(self, start: Tensors, users: Tensor, support: Ratings, targets: Tensor) -> Weights:
        """Each task's weights after the inner steps.

        Args:
            start: those before them.
            users: shape: [tasks]
            support: of the tasks.
            targets: what its ratings count as, shape: [tasks, ratings]
        """
        content = self.user_content(users).unsqueeze(1)
        user, items = self.inner.inputs(content, self.items(support.items))
        parts = Parts(items)

        def loss(weights: Weights, part: slice) -> Tensor:
            predicted = self._rate(user, parts[part], weights)
            return mean_error(predicted, targets[:, part], support.mask[:, part])

        return self.inner(start, loss, support.mask)

    def forward(self, users: Tensor, items: Tensor, weights: Weights) -> Tensor:
        """Shape: [tasks, items].

        Args:
            users: shape: [tasks]
            items: shape: [tasks, items]
            weights: the tasks', from :meth:`adapt`.
        """
        return self._rate(self.user_content(users).unsqueeze(1), self.items(items), weights)

    def _rate(self, user: Tensor, items: Tensor, weights: Weights) -> Tensor:
        of_user, of_item, bias, *others = weights
        hidden = linear(user, of_user) + linear(items, of_item, dense(bias))
        if others:
            hidden = mlp(torch.relu(hidden), others)
        return hidden.squeeze(-1)
