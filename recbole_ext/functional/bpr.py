"""Bayesian personalised ranking (BPR) on rows of embeddings."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Triples(NamedTuple):
    """A batch of BPR training cases: each user prefers the positive item to the negative one.

    Attributes:
        users: internal user ids, shape: [batch_size]
        positives: internal ids of items that the user interacted with, shape: [batch_size]
        negatives: internal ids of items that the user did not interact with, shape: [batch_size]
    """

    users: Tensor
    positives: Tensor
    negatives: Tensor

    @property
    def items(self) -> Tensor:
        """All items that the batch reads, positives first, shape: [2 * batch_size]."""
        return torch.cat([self.positives, self.negatives])


def bpr_loss(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean of ``−ln σ(ŷ_ui − ŷ_uj)`` with ``ŷ_ui = θ_u·θ_i``.

    Args:
        user: user embeddings, shape: [batch_size, embedding_size]
        positive: embeddings of the positive items, shape: [batch_size, embedding_size]
        negative: embeddings of the negative items, shape: [batch_size, embedding_size]

    Returns:
        The loss, shape: []

    Reference:
        Rendle et al. "BPR: Bayesian Personalized Ranking from Implicit Feedback." UAI 2009.
    """
    return -F.logsigmoid((user * (positive - negative)).sum(-1)).mean()


def bpr_row_gradients(
    user_table: Tensor, item_table: Tensor, triples: Triples
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`bpr_loss` for the rows that a batch reads, one row per occurrence.

    A row that occurs twice in the batch gets its gradient in two parts, to be added by the caller.

    Args:
        user_table: all user embeddings, shape: [n_users, embedding_size]
        item_table: all item embeddings, shape: [n_items, embedding_size]
        triples: the batch.

    Returns:
        Gradients for users, positives and negatives, each of shape: [batch_size, embedding_size]
    """
    user = user_table.detach()[triples.users]
    positive = item_table.detach()[triples.positives]
    negative = item_table.detach()[triples.negatives]
    difference = positive - negative
    # d(−ln σ(x))/dx = −σ(−x), divided by the batch size for the mean
    slope = -torch.sigmoid(-(user * difference).sum(-1, keepdim=True)) / len(user)
    return slope * difference, slope * user, -slope * user
