"""A decision that ranks items for a list: popularity and a vector for each user."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, softplus

from recbole_ext.meta.adapting.factored_weight import dense
from recbole_ext.meta.adapting.inner_loop import Weights, masked_mean
from recbole_ext.meta.adapting.inner_optimizers import Tensors
from recbole_ext.meta.decisions.content import ContentEmbedding
from recbole_ext.meta.decisions.learnt_steps import InnerLoop, InnerLoopSettings
from recbole_ext.meta.decisions.warm_embedding import WarmEmbedding, once_each
from recbole_ext.meta.tasks.task_set import Ratings


class ListParts(NamedTuple):
    """What a :class:`ListDecision` is made of; a part that is ``None`` is left out.

    Attributes:
        popularity: the logarithm of each item's number of training ratings, shape: [n_items]
        own: the items' vectors.
        traces: the vectors of the items as given ones, of the same size.
        content: embeddings of the items' content, which a linear layer adds to ``own``.
        user_content: embeddings of the users' content, from which a user's vector starts.
        inner: the settings of gradient steps on the support set.
        left_out: the share of the numbers in the items' vectors that training leaves out.
    """

    popularity: Tensor
    own: WarmEmbedding
    traces: WarmEmbedding | None
    content: ContentEmbedding | None
    user_content: ContentEmbedding | None
    inner: InnerLoopSettings | None
    left_out: float


class ListDecision(nn.Module):
    """Scores ``log popularity_i + u · q_i``, with a vector ``u`` for each task.

    The vector is ``start / (1 + k)^δ + Σ p_j / k^ρ`` over the ``k`` given items ``j``, with learnt
    exponents, and then takes gradient steps on the softmax of the given items, if there are any.
    Popularity is the prior: a user who gives nothing gets the most popular items.

    Args:
        parts: what the decision is made of.

    Reference:
        Lee et al. "MeLU." KDD 2019, Algorithm 1 (the steps). Koren. "Factorization meets the
        neighborhood." KDD 2008, equation 14 (the sum over what is given).
    """

    popularity: Tensor

    def __init__(self, parts: ListParts) -> None:
        super().__init__()
        self.register_buffer("popularity", parts.popularity, persistent=False)
        self.own, self.traces = parts.own, parts.traces
        self.content, self.user_content = parts.content, parts.user_content
        self.size = self.own.rows.embedding_dim
        self.left_out = parts.left_out
        if self.content is not None:
            self.of_content = nn.Linear(self.content.size, self.size, bias=False)
        if self.user_content is not None:
            self.of_user = nn.Linear(self.user_content.size, self.size, bias=False)
        self.fading = nn.Parameter(torch.tensor(0.5))
        self.crowding = nn.Parameter(torch.tensor(0.0))
        self.inner = None if parts.inner is None else InnerLoop(parts.inner, [0])

    def factors(self, items: Tensor) -> Tensor:
        """The vectors of some items, shape: [items, size], for items of shape [items]."""
        found = self.own(items)
        if self.content is not None:
            found = found + self.of_content(self.content(items))
        return dropout(found, self.left_out, self.training)

    @property
    def every(self) -> Tensor:
        """All items, shape: [n_items]."""
        return torch.arange(len(self.popularity), device=self.popularity.device)

    def start(self, users: Tensor) -> Tensors:
        """The vectors before anything is given, shape: [tasks, size].

        Args:
            users: shape: [tasks]
        """
        if self.user_content is None:
            return [self.fading.new_zeros(len(users), self.size)]
        return [self.of_user(self.user_content(users))]

    def adapt(self, start: Tensors, users: Tensor, support: Ratings, targets: Tensor) -> Weights:
        """Each user's vector, shape: [tasks, size].

        Args:
            start: the vectors before anything is given.
            users: unused.
            support: the support sets of the tasks, of which only the items count.
            targets: unused.
        """
        count = support.mask.sum(-1, keepdim=True).to(start[0].dtype)
        vector = start[0] / (1 + count) ** softplus(self.fading)
        if self.traces is not None:
            given = (self.traces(support.items) * support.mask.unsqueeze(-1)).sum(1)
            vector = vector + given / count.clamp(min=1) ** torch.sigmoid(self.crowding)
        if self.inner is None:
            return [vector]
        factors = self.factors(self.every)
        if self.inner.first_order:
            factors = factors.detach()

        def loss(weights: Weights, part: slice) -> Tensor:
            scores = self.popularity + dense(weights[0]) @ factors.T
            chances = scores[:, 1:].log_softmax(-1)  # item 0 is padding
            places = (support.items[:, part] - 1).clamp(min=0)
            return -masked_mean(chances.gather(1, places), support.mask[:, part])

        return self.inner([vector], loss, support.mask)

    def forward(self, users: Tensor, items: Tensor, weights: Weights) -> Tensor:
        """Shape: [tasks, items].

        Args:
            users: unused.
            items: shape: [tasks, items]
            weights: the users' vectors, from :meth:`adapt`.
        """
        scores = torch.einsum("tis,ts->ti", once_each(self.factors, items), dense(weights[0]))
        return self.popularity[items] + scores

    def all_items(self, weights: Weights) -> Tensor:
        """The scores of all items, shape: [tasks, n_items]; see :meth:`forward`."""
        return self.popularity + dense(weights[0]) @ self.factors(self.every).T
