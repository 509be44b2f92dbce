"""MAMO's three networks, which each task adapts together with a preference matrix of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

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
from recbole_ext.meta.decisions.rating_heads import ClassHead, ValueHead
from recbole_ext.meta.decisions.stepping_decision import SteppingDecision
from recbole_ext.meta.tasks.task_set import Ratings


class PreferenceDecision(SteppingDecision):
    """``θ_u`` and ``θ_i`` embed a user and an item, ``θ_r`` rates the pair.

    The first layer of ``θ_r`` is the task's preference matrix ``M_{u,I}``. A task's weights are, in
    this order, those of ``θ_u``, of ``θ_i``, of the rest of ``θ_r``, and the preference matrix in
    two halves. The product with the user's half is computed once for all items.

    Args:
        user_content: embeddings of the users, the profile ``p_u``.
        items: embeddings of the items, the profile ``p_i``.
        hidden: sizes of the hidden layers of each network.
        size: size of the two embeddings (d).
        head: turns the outputs into ratings.
        inner: settings of the steps that adapt the weights.

    Reference:
        Dong et al. "MAMO." KDD 2020, section 3.1 and Algorithm 1.
    """

    def __init__(
        self,
        user_content: ContentEmbedding,
        items: ItemProfile,
        hidden: list[int],
        size: int,
        head: ValueHead | ClassHead,
        inner: InnerLoopSettings,
    ) -> None:
        super().__init__(user_content, items, head)
        self.of_user = network_weights([user_content.size, *hidden, size])
        self.of_item = network_weights([items.size, *hidden, size])
        self.of_rating = network_weights([2 * size, *hidden, head.outputs])
        self.preference_shape = (2 * size, 2 * size)
        self.preference = nn.Parameter(torch.empty(self.preference_shape))
        nn.init.xavier_normal_(self.preference)
        count = len(self.of_user) + len(self.of_item) + len(self.of_rating)
        self.inner = InnerLoop(inner, [*range(count), count, count])

    @property
    def weight_size(self) -> int:
        """Number of weights in ``θ_u``."""
        return sum(weight.numel() for weight in self.of_user)

    def start(self, users: Tensor, bias: Tensor | None, preference: Tensor | None) -> Tensors:
        """``θ_u = φ_u − bias``, ``θ_i = φ_i``, ``θ_r = φ_r`` and ``M_{u,I}``.

        Args:
            users: shape: [tasks]
            bias: read from the memory of features, shape: [tasks, weight_size]
            preference: read from the memory of tasks, shape: [tasks, *preference_shape]; ``None``
                lets all tasks start from one matrix, which is learnt.
        """
        tasks = len(users)
        of_user = for_each(self.of_user, tasks)
        if bias is not None:
            parts = bias.split([weight.numel() for weight in self.of_user], dim=-1)
            of_user = [w - b.view_as(w) for w, b in zip(of_user, parts, strict=True)]
        if preference is None:
            preference = self.preference.expand(tasks, *self.preference_shape)
        others = for_each(self.of_item, tasks) + for_each(self.of_rating, tasks)
        return [*of_user, *others, *preference.chunk(2, dim=1)]

    def to_remember(
        self, start: Tensors, adapted: Weights, support: Ratings
    ) -> tuple[Tensor, Tensor]:
        """The mean gradient of ``θ_u`` over the inner steps, and the task's preference matrix.

        The mean gradient is the change of ``θ_u`` divided by the step size and by the number of
        steps.

        Args:
            start: the tasks' weights before they adapted.
            adapted: the tasks' weights after they adapted.
            support: the support sets that they adapted to.

        Returns:
            shape: [tasks, weight_size], shape: [tasks, *preference_shape]
        """
        of_user = len(self.of_user)
        rates = self.inner.rates()[:of_user]
        went = zip(start[:of_user], adapted[:of_user], rates, strict=True)
        moved = [((dense(a) - dense(b)) / rate).flatten(1) for a, b, rate in went]
        steps = self.inner.steps_on(support.mask).clamp(min=1).unsqueeze(-1)
        preference = torch.cat([dense(part) for part in adapted[-2:]], dim=1)
        return torch.cat(moved, dim=-1) / steps, preference

    def rate(self, user: Tensor, items: Tensor, weights: Weights) -> Tensor:
        """What ``θ_r`` makes of both embeddings; see the class above for the arguments."""
        a, b = len(self.of_user), len(self.of_user) + len(self.of_item)
        user = mlp(user, weights[:a], leaky_relu, activate_last=True)
        items = mlp(items, weights[a:b], leaky_relu, activate_last=True)
        preferred = leaky_relu(linear(user, weights[-2]) + linear(items, weights[-1]))
        return mlp(preferred, weights[b:-2], leaky_relu)
