"""A decision network that adapts to a user by gradient steps on all its layers, as in MeLU."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_ext.meta.adapting.factored_weight import dense, linear
from recbole_ext.meta.adapting.inner_loop import Weights, mlp
from recbole_ext.meta.adapting.inner_optimizers import Tensors
from recbole_ext.meta.decisions.content import ContentEmbedding
from recbole_ext.meta.decisions.item_profile import ItemProfile
from recbole_ext.meta.decisions.learnt_steps import (
    InnerLoop,
    InnerLoopSettings,
    for_each,
    network_weights,
)
from recbole_ext.meta.decisions.rating_heads import ValueHead
from recbole_ext.meta.decisions.stepping_decision import SteppingDecision


class GradientDecision(SteppingDecision):
    """Layers with ReLU between them and one output, on the embeddings of a user and an item.

    Only the layers adapt; the embeddings stay as they are.

    Args:
        user_content: embeddings of the users.
        items: embeddings of the items.
        hidden: sizes of the hidden layers.
        inner: settings of the steps that adapt the layers.

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
        super().__init__(user_content, items, ValueHead())
        self.weights = network_weights([user_content.size + items.size, *hidden, 1])
        self.inner = InnerLoop(inner, [0, *range(len(self.weights))])

    def start(self, users: Tensor) -> Tensors:
        """The weights before any step, for each of some users.

        The first layer's weight is split in two, one part for the user's embedding and one for the
        item's. The product with the user's embedding is then computed once for all items.
        """
        first, *others = for_each(self.weights, len(users))
        return [*first.split([self.user_content.size, self.items.size], dim=1), *others]

    def rate(self, user: Tensor, items: Tensor, weights: Weights) -> Tensor:
        """The predicted rating, as the only output; see the class above for the arguments."""
        of_user, of_item, bias, *others = weights
        hidden = linear(user, of_user) + linear(items, of_item, dense(bias))
        if others:
            hidden = mlp(torch.relu(hidden), others)
        return hidden
