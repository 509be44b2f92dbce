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

    @property
    def sides(self) -> tuple[Tensor, Tensor]:
        """The users and all items that the batch reads, as two tensors."""
        return self.users, self.items


def bpr_loss(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """The mean of ``−ln σ(ŷ_ui − ŷ_uj)`` with ``ŷ_ui = θ_u·θ_i``.

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


class RowGradients(NamedTuple):
    """The embeddings that a batch reads and the gradients of its loss, one row per occurrence.

    If a user or item occurs twice in the batch, the caller has to add up its two gradients.

    Attributes:
        triples: the batch.
        loss: :func:`bpr_loss` of the batch, shape: []
        user_rows: the users' embeddings, shape: [batch_size, embedding_size]
        item_rows: the items' embeddings, positives first, shape: [2 * batch_size, embedding_size]
        users: gradients of ``user_rows``, shape: [batch_size, embedding_size]
        items: gradients of ``item_rows``, shape: [2 * batch_size, embedding_size]
    """

    triples: Triples
    loss: Tensor
    user_rows: Tensor
    item_rows: Tensor
    users: Tensor
    items: Tensor


@torch.no_grad()
def bpr_row_gradients(user_table: Tensor, item_table: Tensor, triples: Triples) -> RowGradients:
    """Compute :func:`bpr_loss` and its gradients for the rows that a batch reads.

    Args:
        user_table: all user embeddings, shape: [n_users, embedding_size]
        item_table: all item embeddings, shape: [n_items, embedding_size]
        triples: the batch.
    """
    size = len(triples.users)
    user = user_table.index_select(0, triples.users)  # far faster than user_table[...]
    item = item_table.index_select(0, triples.items)
    difference = item[:size] - item[size:]
    margin = (user * difference).sum(-1, keepdim=True)
    # d(−ln σ(x))/dx = −σ(−x), divided by the batch size for the mean
    slope = torch.sigmoid(-margin).div_(-size)
    for_item = torch.empty_like(item)
    torch.mul(user, slope, out=for_item[:size])
    torch.neg(for_item[:size], out=for_item[size:])
    loss = -F.logsigmoid(margin).mean()
    return RowGradients(triples, loss, user, item, difference.mul_(slope), for_item)
