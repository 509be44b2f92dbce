"""The scores of a batch's users for its items, and sums over them.

With all items there is a column for each of them. With drawn items there is a column for each item
that was drawn, and one value for each pair of a user and an item of the user's own. The cost of a
batch is then that of a few columns and of its interactions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_ext.lambda_opt.gradient.user_batch import UserBatch

# The score of an item that is no candidate. It is far below all others, but 0 times it is 0.
BARRED = -1e9


class Scores:
    """A value for each user of a batch and each item.

    Args:
        batch: the batch.
        columns: the values of each column, shape: [batch, columns]
        own: the values of the users' own items, shape: [pairs]; ``None`` where these are among the
            columns.
    """

    def __init__(self, batch: UserBatch, columns: Tensor, own: Tensor | None) -> None:
        self.batch, self.columns, self.own = batch, columns, own

    @classmethod
    def of(cls, batch: UserBatch, users: Tensor, items: Tensor, bias: Tensor) -> Scores:
        """The scores ``θ_u·θ_j + b_j``.

        Args:
            batch: the batch.
            users: the rows of its users, shape: [batch, size]
            items: the rows of all items, or of the candidates, shape: [items, size]
            bias: their biases, shape: [items]
        """
        if batch.candidates is None:
            return cls(batch, torch.addmm(bias, users, items.T), None)
        drawn = batch.candidates.drawn
        columns = torch.addmm(bias[drawn], users, items.index_select(0, drawn).T)
        own = torch.sparse.sampled_addmm(_places(batch, users, len(items)), users, items.T).values()
        return cls(batch, columns, own + bias.index_select(0, batch.items))

    @classmethod
    def of_own(cls, batch: UserBatch, own: Tensor) -> Scores:
        """Scores of the users' own items alone."""
        return cls(batch, own.new_empty(len(batch.users), 0), own)

    def bar(self) -> None:
        """Take out of the columns what is no candidate."""
        batch = self.batch
        if batch.candidates is not None:
            assert batch.barred is not None
            self.columns[batch.barred] = BARRED
            return
        self.columns[:, 0] = BARRED  # RecBole's padding item
        if batch.barred is not None:
            own = self.of_pairs()
            self.columns[batch.barred] = BARRED
            self.columns[batch.rows, batch.items] = own

    def each(self, change: Callable[..., Tensor], *others: Scores) -> Scores:
        """Apply a function to the values, together with those of others at the same places."""
        columns = change(self.columns, *(other.columns for other in others))
        if self.own is None:
            return Scores(self.batch, columns, None)
        return Scores(self.batch, columns, change(self.own, *(other.own for other in others)))

    def spread(self, of_users: Tensor) -> Scores:
        """Each user's number, shape: [batch, 1], at the places of these scores."""
        own = None if self.own is None else of_users.squeeze(1)[self.batch.rows]
        return Scores(self.batch, of_users, own)

    def of_pairs(self) -> Tensor:
        """The values of the users' own items, shape: [pairs]."""
        return self.columns[self.batch.rows, self.batch.items] if self.own is None else self.own

    def add_to_pairs(self, values: Tensor) -> None:
        """Add to the values of the users' own items, in place; shape: [pairs]."""
        if self.own is None:
            self.columns.index_put_((self.batch.rows, self.batch.items), values, accumulate=True)
        else:
            self.own.add_(values)

    def largest(self) -> Tensor:
        """The largest value of each user, shape: [batch, 1]."""
        if self.own is None:
            return self.columns.amax(1, keepdim=True)
        found = self.own.new_full((len(self.batch.users),), -torch.inf)
        found = found.scatter_reduce(0, self.batch.rows, self.own, "amax").unsqueeze(1)
        return torch.cat([self.columns, found], 1).amax(1, keepdim=True)

    def by_user(self) -> Tensor:
        """The sum of each user's values, shape: [batch, 1]."""
        found = self.columns.sum(1, keepdim=True)
        if self.own is None:
            return found
        own = self.own.new_zeros(len(found)).index_add(0, self.batch.rows, self.own)
        return found + own.unsqueeze(1)

    def by_item(self) -> Tensor:
        """The sum of each item's values, shape: [items]."""
        candidates, found = self.batch.candidates, self.columns.sum(0)
        if candidates is None or self.own is None:
            return found
        own = found.new_zeros(len(candidates.items)).index_add_(0, self.batch.items, self.own)
        return own.index_add_(0, candidates.drawn, found)

    def times_items(self, items: Tensor) -> Tensor:
        """``Σ_j s_uj θ_j`` for each user, shape: [batch, size]."""
        candidates, batch = self.batch.candidates, self.batch
        if candidates is None or self.own is None:
            return self.columns @ items
        begins = _begins(batch.rows, len(batch.users))
        own = _sums(batch.items, items, begins, self.own)
        return own.addmm_(self.columns, items.index_select(0, candidates.drawn))

    def times_users(self, users: Tensor) -> Tensor:
        """``Σ_u s_uj θ_u`` for each item, shape: [items, size]."""
        candidates, batch = self.batch.candidates, self.batch
        if candidates is None or self.own is None:
            return self.columns.T @ users
        order, begins = candidates.by_item, _begins(batch.items, len(candidates.items))
        rows, weights = (part.index_select(0, order) for part in (batch.rows, self.own))
        own = _sums(rows, users, begins, weights)
        return own.index_add_(0, candidates.drawn, self.columns.T @ users)


def _places(batch: UserBatch, like: Tensor, n_items: int) -> Tensor:
    """A sparse matrix with zeros at the users' own items, shape: [batch, n_items]."""
    size = len(batch.users), n_items
    zeros = like.new_zeros(len(batch.items))
    with warnings.catch_warnings():  # torch warns that its CSR format is a beta
        warnings.simplefilter("ignore", UserWarning)
        begins = _begins(batch.rows, len(batch.users))
        return torch.sparse_csr_tensor(begins, batch.items, zeros, size, check_invariants=False)


def _begins(places: Tensor, size: int) -> Tensor:
    """Where each place's entries begin once they are sorted, and the end, shape: [size + 1]."""
    return F.pad(torch.bincount(places, minlength=size).cumsum(0), (1, 0))


def _sums(ids: Tensor, rows: Tensor, begins: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of some rows for each group of ids, shape: [groups, size]."""
    return F.embedding_bag(
        ids, rows, begins, mode="sum", per_sample_weights=weights, include_last_offset=True
    )
