"""First and second derivatives of a model's losses: in closed form for MF, by autograd otherwise.

Both classes have the same methods, which work on whole tables. Parameters go by their names in
``PairwiseModel``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_ext.lambda_opt.gradient.bpr import (
    Triples,
    bpr_row_gradients,
    joined_rows,
    near_rows,
    shared_row_gradients,
)
from recbole_ext.lambda_opt.gradient.calibration import Derivatives, Temperature, bpr_derivatives
from recbole_ext.lambda_opt.gradient.owners import RowOwner, owners_of
from recbole_ext.lambda_opt.gradient.penalty import batch_shares
from recbole_ext.lambda_opt.gradient.tangents import bpr_row_tangents
from recbole_ext.lambda_opt.pairwise import PairwiseModel, is_factorisation
from recbole_ext.processes.shares import Share, one_each, same_draws, share_of, sum_shares

ByName: TypeAlias = dict[str, Tensor]
Rows: TypeAlias = Tensor | slice
Answer: TypeAlias = Callable[[ByName], ByName]


class Outer(NamedTuple):
    """This process's share of the outer loss; the sums over all shares are those of the batch.

    Attributes:
        loss: shape: []
        gradients: by the rows of each parameter.
        rows: which rows these are.
        share: the share of the batch.
    """

    loss: Tensor
    gradients: ByName
    rows: dict[str, Rows]
    share: Share


def following(temperature: Temperature, share: Share) -> Callable[[Derivatives], Tensor]:
    """``temperature.follow``, for the sums of the derivatives over all shares of a batch."""

    def follow(derivatives: Derivatives) -> Tensor:
        def of_batch(value: Tensor) -> tuple[Tensor, Tensor]:
            first, second = sum_shares(derivatives(value), share)
            return first, second

        return temperature.follow(of_batch)

    return follow


def outer_of_owned(loss: Tensor, gradients: ByName, rows: dict[str, Rows], share: Share) -> Outer:
    """The outer loss where each process has the gradients of its own rows, summed already.

    Args:
        loss: the loss of this process's share of the batch.
        gradients: by the rows that this process owns.
        rows: which of its rows these are.
        share: the share of the batch.
    """
    (loss,) = sum_shares([loss], share)
    each = one_each()
    return Outer(loss * each.weight, gradients, rows, each)


class Gradients(Protocol):
    """The derivatives of a model that the forward-mode gradient needs.

    All that is by row is of the rows that this process owns.

    Attributes:
        parameters: the model's parameters by name.
        owners: the owners of the parameters' rows by name.
    """

    parameters: ByName
    owners: dict[str, RowOwner]

    def fit(self, batch: Any, read: Any) -> tuple[ByName, Answer]:
        """The gradient ``g`` of the training loss, and a function that gives ``∂g/∂Θ · Z``.

        Args:
            batch: a training batch.
            read: what the model's own step has computed for the batch, or ``None``.
        """

    def ranking(self, batch: Any, temperature: Temperature | None) -> Outer:
        """The outer loss and its gradient, for this process's share of a batch.

        Args:
            batch: a batch of the ratings that λ learns from.
            temperature: follows the best scale of the scores; ``None`` takes them as they are.
        """

    def shares(self, batch: Any) -> ByName:
        """The factor of each row's penalty ``λ_r |θ_r|²`` by side, shape: [rows, 1]."""

    def rows(self, batch: Any) -> dict[str, Rows]:
        """The distinct rows of each parameter that a batch touches; the gradients are of these."""


def gradients_of(model: PairwiseModel) -> Gradients:
    """The derivatives of a model, in closed form where one exists."""
    closed_form = is_factorisation(model.model)
    return FactorisationGradients(model) if closed_form else AutogradGradients(model)


class _PairwiseGradients:
    """What the derivatives of all models that train on triples have in common."""

    def __init__(self, model: PairwiseModel) -> None:
        self.model = model
        self.parameters: ByName = dict(model.named_parameters())
        self.owners: dict[str, RowOwner] = {}

    def rows(self, batch: Triples) -> dict[str, Rows]:
        """See :class:`Gradients`; these are all rows."""
        return dict.fromkeys(self.parameters, slice(None))

    def shares(self, batch: Triples) -> ByName:
        """See :class:`Gradients`; a row's share is its occurrences over the batch size."""
        shares = {}
        given = zip(("user", "item"), batch.sides, owners_of(self.model.model), strict=True)
        for side, ids, owner in given:
            table = getattr(self.model.model, f"{side}_embedding").weight
            counted = batch_shares(owner.held(ids).rows, len(table), len(batch.users))
            shares[side] = counted.to(table).unsqueeze(-1)
        return shares


class FactorisationGradients(_PairwiseGradients):
    """The derivatives of BPR matrix factorisation, in closed form."""

    def __init__(self, model: PairwiseModel) -> None:
        super().__init__(model)
        self._of_sides = owners_of(model.model)
        self.owners = dict(zip(self.parameters, self._of_sides, strict=True))

    def fit(self, batch: Triples, read: object = None) -> tuple[ByName, Answer]:
        """See :class:`Gradients`."""
        of_users, of_items, places = near_rows(self._of_sides, batch)
        users, items = self._tables()
        tables, share = (of_users.of(users), of_items.of(items)), share_of(len(batch.users))

        def answer(direction: ByName) -> ByName:
            users, items = direction.values()
            directions = of_users.of(users), of_items.of(items)
            moved = bpr_row_tangents(tables, directions, places.part(share), share.total)
            return self._in_tables(batch, *joined_rows(*moved, share))

        found = shared_row_gradients(*tables, places)
        return self._in_tables(batch, found.users, found.items), answer

    def ranking(self, batch: Triples, temperature: Temperature | None = None) -> Outer:
        """See :class:`Gradients`."""
        of_users, of_items, places = near_rows(self._of_sides, batch)
        users, items = self._tables()
        users, items = of_users.of(users), of_items.of(items)
        share = share_of(len(batch.users))
        part = places.part(share)
        scale = 1.0
        if temperature is not None:
            rows, (positive, negative) = users[part.users], items[part.items].chunk(2)
            margins = (rows * (positive - negative)).sum(-1)
            scale = following(temperature, share)(bpr_derivatives(margins, share.total)).item()
        found = bpr_row_gradients(users * scale, items, part, share.total)
        by_row = found.users * scale, found.items
        if self._of_sides.are_spread:
            gradients = self._in_tables(batch, *joined_rows(*by_row, share))
            return outer_of_owned(found.loss, gradients, self.rows(batch), share)
        return Outer(found.loss, self._in_tables(part, *by_row), self.rows(batch), share)

    def _tables(self) -> tuple[Tensor, Tensor]:
        users, items = (table.detach() for table in self.parameters.values())
        return users, items

    def _in_tables(self, batch: Triples, for_users: Tensor, for_items: Tensor) -> ByName:
        """Sum the rows of a batch's occurrences into the tables of the rows that are owned."""
        found = {}
        given = zip(batch.sides, (for_users, for_items), self._of_sides, strict=True)
        for (name, table), (ids, rows, owner) in zip(self.parameters.items(), given, strict=True):
            held = owner.held(ids)
            found[name] = torch.zeros_like(table).index_add_(0, held.rows, rows[held.places])
        return found


class AutogradGradients(_PairwiseGradients):
    """The derivatives of any model, by differentiating twice.

    A model with dropout draws a new mask here, which is not the mask of the real training step.
    """

    def fit(self, batch: Triples, read: object = None) -> tuple[ByName, Answer]:
        """See :class:`Gradients`."""
        share = share_of(len(batch.users))
        with torch.enable_grad(), same_draws():
            loss = self.model.fit_loss(self.parameters, batch.part(share)) * share.weight
            found = self._differentiate(loss, twice=True)

        def answer(direction: ByName) -> ByName:
            with torch.enable_grad():
                slope = torch.stack([(found[n] * direction[n]).sum() for n in found]).sum()
                return summed(self._differentiate(slope, again=True), share)

        return summed({name: gradient.detach() for name, gradient in found.items()}, share), answer

    def ranking(self, batch: Triples, temperature: Temperature | None = None) -> Outer:
        """See :class:`Gradients`."""
        share = share_of(len(batch.users))
        batch = batch.part(share)
        with torch.enable_grad(), same_draws():
            margins = self.model.margins(self.parameters, batch)
            scale = 1.0
            if temperature is not None:
                derivatives = bpr_derivatives(margins.detach(), share.total)
                scale = following(temperature, share)(derivatives).item()
            loss = -F.logsigmoid(margins * scale).sum() / share.total
            return Outer(loss.detach(), self._differentiate(loss), self.rows(batch), share)

    def _differentiate(self, value: Tensor, twice: bool = False, again: bool = False) -> ByName:
        leaves = list(self.parameters.values())
        found = torch.autograd.grad(
            value, leaves, allow_unused=True, create_graph=twice, retain_graph=twice or again
        )
        return {
            name: torch.zeros_like(leaf) if gradient is None else gradient
            for (name, leaf), gradient in zip(self.parameters.items(), found, strict=True)
        }


def summed(found: ByName, share: Share) -> ByName:
    """The sums over all shares of a batch, by name."""
    return dict(zip(found, sum_shares(list(found.values()), share), strict=True))
