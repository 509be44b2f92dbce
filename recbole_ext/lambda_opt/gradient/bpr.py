"""Bayesian personalised ranking (BPR) on rows of embeddings."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_ext.lambda_opt.gradient.owners import WHOLE, Near, Owners
from recbole_ext.processes.shares import Share, join_shares, share_of, sum_shares


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

    def part(self, share: Share) -> Triples:
        """Some of the triples."""
        return Triples(*(ids[share.rows] for ids in self))

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
def bpr_row_gradients(
    user_table: Tensor, item_table: Tensor, triples: Triples, total: int | None = None
) -> RowGradients:
    """Compute :func:`bpr_loss` and its gradients for the rows that a batch reads.

    Args:
        user_table: all user embeddings, shape: [n_users, embedding_size]
        item_table: all item embeddings, shape: [n_items, embedding_size]
        triples: the batch, or some triples of a batch.
        total: the number of triples of the batch, by default all of these.
    """
    size, total = len(triples.users), total or len(triples.users)
    user = user_table.index_select(0, triples.users)  # far faster than user_table[...]
    item = item_table.index_select(0, triples.items)
    difference = item[:size] - item[size:]
    margin = (user * difference).sum(-1, keepdim=True)
    # d(−ln σ(x))/dx = −σ(−x), divided by the batch size for the mean
    slope = torch.sigmoid(-margin).div_(-total)
    for_item = torch.empty_like(item)
    torch.mul(user, slope, out=for_item[:size])
    torch.neg(for_item[:size], out=for_item[size:])
    loss = -F.logsigmoid(margin).sum() / total
    return RowGradients(triples, loss, user, item, difference.mul_(slope), for_item)


@torch.no_grad()
def shared_row_gradients(
    user_table: Tensor, item_table: Tensor, triples: Triples, owners: Owners = WHOLE
) -> RowGradients:
    """Do the same as :func:`bpr_row_gradients`, with the batch divided among the processes.

    Args:
        user_table: this process's user embeddings.
        item_table: this process's item embeddings.
        triples: the batch.
        owners: the owners of the rows.
    """
    share = share_of(len(triples.users))
    if not owners.are_spread:
        users, items, near = user_table, item_table, triples
    else:
        of_users, of_items, near = near_rows(owners, triples)
        users, items = of_users.of(user_table), of_items.of(item_table)
    found = bpr_row_gradients(users, items, near.part(share), share.total)
    if not share.is_part:
        return found._replace(triples=triples)
    (loss,) = sum_shares([found.loss], share)
    rows = users.index_select(0, near.users), items.index_select(0, near.items)
    return RowGradients(triples, loss, *rows, *joined_rows(found.users, found.items, share))


def near_rows(owners: Owners, triples: Triples) -> tuple[Near, Near, Triples]:
    """The users and the items that a batch reads, and the batch as places in their tables."""
    users, items = owners.user.near(triples.users), owners.item.near(triples.items)
    return users, items, Triples(users.places, *items.places.chunk(2))


def joined_rows(users: Tensor, items: Tensor, share: Share) -> tuple[Tensor, Tensor]:
    """The rows of a whole batch, from those of each process's share.

    Args:
        users: a row for each triple, shape: [triples, size]
        items: rows of the positive items and of the negative ones, shape: [2 * triples, size]
        share: this process's triples.
    """
    if not share.is_part:
        return users, items
    together = torch.cat([users, *items.chunk(2)], dim=1)
    users, positives, negatives = join_shares(together, share).chunk(3, dim=1)
    return users, torch.cat([positives, negatives])
