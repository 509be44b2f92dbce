"""Users with all their items as a batch, and the parameters that it reads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recbole_ext.lambda_opt.gradient.candidates import Candidates
from recbole_ext.lambda_opt.gradient.owners import WHOLE, Held, Owners
from recbole_ext.processes.shares import Share


class Factors(NamedTuple):
    """The parameters of a matrix factorisation with item biases, or their derivatives.

    Attributes:
        users: user embeddings, shape: [n_users, embedding_size]
        items: item embeddings, shape: [n_items, embedding_size]
        bias: item biases, shape: [n_items]
    """

    users: Tensor
    items: Tensor
    bias: Tensor


class UserBatch(NamedTuple):
    """Some users with all their items.

    Attributes:
        users: internal user ids, shape: [batch]
        rows: the position in ``users`` of each distinct pair of a user and an item, ascending,
            shape: [pairs]
        items: the internal item id of each pair, or its position among the candidates, shape:
            [pairs]
        times: how many interactions each pair has, shape: [pairs]
        counts: number of interactions of each user, shape: [batch, 1]
        barred: positions in ``users`` and columns that are no candidates, two of shape: [bars].
            Where the columns are all items, an item of the user's own stays a candidate.
        divisor: the loss is divided by it.
        candidates: the items of the batch; ``None``: all items.
        share: which users of a larger batch these are; ``None``: all of them.
    """

    users: Tensor
    rows: Tensor
    items: Tensor
    times: Tensor
    counts: Tensor
    barred: tuple[Tensor, Tensor] | None
    divisor: float
    candidates: Candidates | None = None
    share: Share | None = None

    @property
    def whole(self) -> int:
        """The number of users of the whole batch."""
        return len(self.users) if self.share is None else self.share.total

    def part(self, share: Share) -> UserBatch:
        """Some of the users; the loss is still divided as for the whole batch."""
        if share.end - share.begin == len(self.users):
            return self._replace(share=share)
        bounds = torch.tensor([share.begin, share.end], device=self.rows.device)
        begin, end = torch.searchsorted(self.rows, bounds).tolist()
        items, barred, candidates = self.items[begin:end], self.barred, self.candidates
        if barred is not None:
            mine = (barred[0] >= share.begin) & (barred[0] < share.end)
            barred = barred[0][mine] - share.begin, barred[1][mine]
        if candidates is not None:
            candidates = candidates._replace(by_item=items.argsort(stable=True))
        return UserBatch(
            self.users[share.rows],
            self.rows[begin:end] - share.begin,
            items,
            self.times[begin:end],
            self.counts[share.rows],
            barred,
            self.divisor,
            candidates,
            share,
        )

    def to(self, device: torch.device) -> UserBatch:
        """The batch on a device, where RecBole's loop sends it."""
        users, rows, items, times, counts = (part.to(device) for part in self[:5])
        barred = self.barred and (self.barred[0].to(device), self.barred[1].to(device))
        candidates = self.candidates and self.candidates.to(device)
        return UserBatch(
            users, rows, items, times, counts, barred, self.divisor, candidates, self.share
        )


def rows_of_batch(
    factors: Factors, batch: UserBatch, owners: Owners = WHOLE
) -> tuple[Factors, UserBatch]:
    """The rows that a batch with candidates needs, and the batch among them.

    They can be differentiated where each process holds all rows.
    """
    if batch.candidates is None:
        return factors, batch
    items = batch.candidates.items
    rows = (owners.item.read(part, items) for part in factors[1:])
    within = torch.arange(len(batch.users), device=batch.users.device)
    users = owners.user.read(factors.users, batch.users)
    return Factors(users, *rows), batch._replace(users=within)


def held_of_batch(batch: UserBatch, owners: Owners) -> tuple[Held, Held]:
    """Those of a batch's users and of its candidates that this process owns."""
    assert batch.candidates is not None
    return owners.user.held(batch.users), owners.item.held(batch.candidates.items)


def own_part(found: Factors, batch: UserBatch, owners: Owners) -> Factors:
    """The rows that this process owns, among those of a batch; without candidates all of them."""
    if batch.candidates is None:
        return found
    users, items = (held.places for held in held_of_batch(batch, owners))
    return Factors(found.users[users], found.items[items], found.bias[items])
