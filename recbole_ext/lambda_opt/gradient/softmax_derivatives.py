"""The derivatives of the softmax loss that the forward-mode gradient of λ needs."""

from __future__ import annotations

import torch

from recbole_ext.lambda_opt.gradient.calibration import Temperature
from recbole_ext.lambda_opt.gradient.derivatives import (
    Answer,
    ByName,
    Outer,
    Rows,
    following,
    outer_of_owned,
)
from recbole_ext.lambda_opt.gradient.owners import WHOLE, Owners, RowOwner
from recbole_ext.lambda_opt.gradient.softmax import (
    SoftmaxRead,
    calibrated_gradients,
    hit_gradients,
    softmax_gradients,
    softmax_tangents,
)
from recbole_ext.lambda_opt.gradient.user_batch import (
    Factors,
    UserBatch,
    held_of_batch,
    own_part,
    rows_of_batch,
)
from recbole_ext.processes.shares import Share, join_shares, share_of, sum_shares


class SoftmaxGradients:
    """See :class:`~recbole_ext.lambda_opt.gradient.derivatives.Gradients`.

    Args:
        parameters: the model's parameters.
        n_users: number of users, without the padding.
        hit: whether the outer loss is that of a hit instead of the likelihood.
        owners: the owners of the parameters' rows.
    """

    def __init__(
        self, parameters: Factors, n_users: int, hit: bool = False, owners: Owners = WHOLE
    ) -> None:
        self.parameters: ByName = parameters._asdict()
        user, item = owners
        self.owners: dict[str, RowOwner] = {"users": user, "items": item, "bias": item}
        self._n_users, self._hit, self._of_sides = n_users, hit, owners

    def fit(self, batch: UserBatch, read: SoftmaxRead) -> tuple[ByName, Answer]:
        """See the interface."""
        factors, _ = rows_of_batch(self._factors(), batch, self._of_sides)
        share = share_of(len(batch.users))

        def answer(direction: ByName) -> ByName:
            rows = Factors(**direction)
            if self._of_sides.are_spread:
                rows = self._complete(rows, batch)
            moved = softmax_tangents(factors, read, rows)
            return self._in_tables(batch, joined(moved, share))

        return self._in_tables(batch, read.gradients), answer

    def ranking(self, batch: UserBatch, temperature: Temperature | None) -> Outer:
        """See the interface."""
        share = share_of(len(batch.users))
        factors, local = rows_of_batch(self._factors(), batch, self._of_sides)
        local = local.part(share)
        if temperature is None:
            read = softmax_gradients(factors, local)
            loss, gradients = read.loss, read.gradients
        else:
            calibrated = hit_gradients if self._hit else calibrated_gradients
            loss, gradients = calibrated(factors, local, following(temperature, share))
        if self._of_sides.are_spread:
            own = self._in_tables(batch, joined(gradients, share))
            return outer_of_owned(loss, own, self.rows(batch), share)
        part = local._replace(users=batch.users[share.rows])
        return Outer(loss, self._in_tables(part, gradients), self.rows(part), share)

    def shares(self, batch: UserBatch) -> ByName:
        """See the interface."""
        if batch.candidates is not None:
            users, items = (held.places for held in held_of_batch(batch, self._of_sides))
            penalty = batch.candidates.penalty
            of_users = penalty.new_full((len(batch.users), 1), 1 / len(batch.users))
            return {"user": of_users[users], "item": penalty[items]}
        users, items, _ = self._factors()
        of_users = torch.zeros_like(users[:, :1])
        of_users[batch.users] = 1 / len(batch.users)
        return {"user": of_users, "item": torch.full_like(items[:, :1], 1 / self._n_users)}

    def rows(self, batch: UserBatch) -> dict[str, Rows]:
        """See the interface; with candidates these are the rows of the batch."""
        if batch.candidates is None:
            return dict.fromkeys(self.parameters, slice(None))
        users, items = (held.rows for held in held_of_batch(batch, self._of_sides))
        return {"users": users, "items": items, "bias": items}

    def _complete(self, own: Factors, batch: UserBatch) -> Factors:
        """The rows of a batch, of which each process has its own."""
        assert batch.candidates is not None
        ids = batch.users, batch.candidates.items, batch.candidates.items
        each = zip(self.owners.values(), own, ids, strict=True)
        return Factors(*(owner.complete(rows, of) for owner, rows, of in each))

    def _factors(self) -> Factors:
        return Factors(*(parameter.detach() for parameter in self.parameters.values()))

    def _in_tables(self, batch: UserBatch, found: Factors) -> ByName:
        """Put the gradients of a batch's users into a whole table, where all rows are touched.

        With candidates they stay rows, and those that other processes own are left out.
        """
        if batch.candidates is not None:
            return own_part(found, batch, self._of_sides)._asdict()
        users = torch.zeros_like(self.parameters["users"]).index_add_(0, batch.users, found.users)
        return found._replace(users=users)._asdict()


def joined(found: Factors, share: Share) -> Factors:
    """The gradients of a whole batch: the users' rows of all shares, and sums for the items."""
    items, bias = sum_shares([found.items, found.bias], share)
    return Factors(join_shares(found.users, share), items, bias)
