"""A decision network whose last layer is solved exactly for each user, by ridge regression."""

from __future__ import annotations

import torch
from recbole.model.layers import MLPLayers
from torch import Tensor, nn

from recbole_ext.meta.adapting.factored_weight import dense
from recbole_ext.meta.adapting.inner_loop import Weights
from recbole_ext.meta.adapting.inner_optimizers import Tensors
from recbole_ext.meta.adapting.ridge import ridge_weights
from recbole_ext.meta.decisions.content import ContentEmbedding
from recbole_ext.meta.decisions.warm_embedding import WarmEmbedding, once_each
from recbole_ext.meta.tasks.task_set import Ratings


class RidgeDecision(nn.Module):
    """Item factors that all users share, and a vector for each user that ridge regression finds.

    An item's factor is the output of a network on the item's content, plus the item's own vector if
    it has one. A user's vector is the ridge regression of the targets on the factors of the support
    set. If there are traces, the regression shrinks the vector towards the normalised sum of the
    rated items' traces, as in SVD++.

    Args:
        content: embeddings of the items' content.
        hidden: sizes of the network's hidden layers.
        size: size of the items' factors and of the users' vectors.
        strength: initial strength of the ridge regression; it is learnt.
        own: the items' own vectors of that size, or ``None``.
        traces: the items' implicit-feedback vectors of that size, or ``None``.

    Reference:
        Bertinetto et al. "Meta-learning with differentiable closed-form solvers." ICLR 2019.
        Koren. "Factorization meets the neighborhood." KDD 2008, equation 15 (traces).
    """

    def __init__(
        self,
        content: ContentEmbedding,
        hidden: list[int],
        size: int,
        strength: float,
        own: WarmEmbedding | None,
        traces: WarmEmbedding | None,
    ) -> None:
        super().__init__()
        self.content, self.own, self.traces = content, own, traces
        self.size = size
        self.network = MLPLayers([content.size, *hidden, size], last_activation=False)
        self.initial_strength = strength
        self.log_strength = nn.Parameter(torch.tensor(0.0))  # relative to the initial strength

    def factors(self, items: Tensor) -> Tensor:
        """Shape: [items, size] for items of shape [items]."""
        factors = self.network(self.content(items))
        return factors if self.own is None else factors + self.own(items)

    def start(self, users: Tensor) -> Tensors:
        """The vectors of users without any ratings, which are 0, shape: [tasks, size]."""
        return [self.log_strength.new_zeros(len(users), self.size)]

    def adapt(self, start: Tensors, users: Tensor, support: Ratings, targets: Tensor) -> Weights:
        """Each user's vector, shape: [tasks, size].

        Args:
            start: the prior mean of each vector, to which the rated items' traces are added.
            users: unused.
            support: the support sets of the tasks.
            targets: the values to fit, one for each rating, shape: [tasks, ratings]
        """
        factors = once_each(self.factors, support.items)
        strength = self.initial_strength * self.log_strength.exp()
        prior = start[0]
        if self.traces is not None:
            rated = (self.traces(support.items) * support.mask.unsqueeze(-1)).sum(1)
            prior = prior + rated / (support.mask.sum(-1, keepdim=True) + 1).sqrt()
        rest = targets - torch.einsum("trs,ts->tr", factors, prior)
        return [prior + ridge_weights(factors, rest, support.mask, strength)]

    def forward(self, users: Tensor, items: Tensor, weights: Weights) -> Tensor:
        """Shape: [tasks, items].

        Args:
            users: unused.
            items: shape: [tasks, items]
            weights: the users' vectors, from :meth:`adapt`.
        """
        return torch.einsum("tis,ts->ti", once_each(self.factors, items), dense(weights[0]))
