"""A decision network that adapts to a user by gradient steps on all its layers, as in MeLU."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recbole_ext.data.tasks import Ratings
from recbole_ext.functional.inner_loop import Weights, adapt, mlp
from recbole_ext.layers.content import ContentEmbedding
from recbole_ext.layers.warm_embedding import WarmEmbedding, once_each


@dataclass(frozen=True)
class InnerLoop:
    """How the network adapts; ``properties/model/MeLU.yaml`` explains each field."""

    steps: int
    learning_rate: float
    learn_rates: bool
    first_order: bool


class GradientDecision(nn.Module):
    """Layers with ReLU between them and one output, on the embeddings of a user and an item.

    Only the layers adapt; the embeddings stay as they are.

    Args:
        user_content: of the users.
        item_content: of the items.
        hidden: sizes of the hidden layers.
        inner: how they adapt.
        own: the items' own vectors, or ``None``.

    Reference:
        Lee et al. "MeLU." KDD 2019, equations 3 and 4, and Algorithm 1.
    """

    def __init__(
        self,
        user_content: ContentEmbedding,
        item_content: ContentEmbedding,
        hidden: list[int],
        inner: InnerLoop,
        own: WarmEmbedding | None,
    ) -> None:
        super().__init__()
        self.user_content, self.item_content, self.own = user_content, item_content, own
        self.inner = inner
        size = user_content.size + item_content.size
        sizes = [size + (0 if own is None else own.rows.embedding_dim), *hidden, 1]
        self.weights = nn.ParameterList()  # of each layer, the weight and the bias
        for before, after in itertools.pairwise(sizes):
            layer = nn.Linear(before, after)
            self.weights.append(nn.Parameter(layer.weight.detach().T.clone()))
            self.weights.append(nn.Parameter(layer.bias.detach().unsqueeze(0).clone()))
        rates = torch.zeros(len(self.weights))  # logarithms, of the given rate
        self.log_rates = nn.Parameter(rates, requires_grad=inner.learn_rates)

    def start(self, users: Tensor) -> Weights:
        """The weights before any step, for each of some users."""
        return [weight.expand(len(users), *weight.shape) for weight in self.weights]

    def adapt(self, users: Tensor, support: Ratings, targets: Tensor) -> Weights:
        """Each task's weights after the inner steps.

        Args:
            users: shape: [tasks]
            support: of the tasks.
            targets: what its ratings count as, shape: [tasks, ratings]
        """
        first_order = self.inner.first_order or not self.training
        with torch.enable_grad():  # RecBole evaluates without gradients
            weights = adapt(
                list(self.weights),
                list(self.inner.learning_rate * self.log_rates.exp()),
                self._inputs(users, support.items),
                targets,
                support.mask,
                self.inner.steps,
                first_order,
            )
        return weights if self.training else [weight.detach() for weight in weights]

    def forward(self, users: Tensor, items: Tensor, weights: Weights) -> Tensor:
        """Shape: [tasks, items].

        Args:
            users: shape: [tasks]
            items: shape: [tasks, items]
            weights: the tasks', from :meth:`adapt`.
        """
        return mlp(self._inputs(users, items), weights)

    def _inputs(self, users: Tensor, items: Tensor) -> Tensor:
        """Shape: [tasks, items, inputs]."""
        user = self.user_content(users).unsqueeze(1).expand(-1, items.shape[1], -1)
        return torch.cat([user, once_each(self._item, items)], dim=-1)

    def _item(self, items: Tensor) -> Tensor:
        content = self.item_content(items)
        return content if self.own is None else torch.cat([content, self.own(items)], dim=-1)
