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
    shared_row_gradients,
)
from recbole_ext.lambda_opt.gradient.calibration import Derivatives, Temperature, bpr_derivatives
from recbole_ext.lambda_opt.gradient.penalty import batch_shares
from recbole_ext.lambda_opt.gradient.tangents import bpr_row_tangents
from recbole_ext.lambda_opt.pairwise import PairwiseModel, is_factorisation
from recbole_ext.processes.shares import Share, same_draws, share_of, sum_shares

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


class Gradients(Protocol):
    """The derivatives of a model that the forward-mode gradient needs."""

    parameters: ByName

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

    def rows(self, batch: Triples) -> dict[str, Rows]:
        """See :class:`Gradients`; these are all rows."""
        return dict.fromkeys(self.parameters, slice(None))

    def shares(self, batch: Triples) -> ByName:
        """See :class:`Gradients`; a row's share is its occurrences over the batch size."""
        shares = {}
        for side, ids in zip(("user", "item"), batch.sides, strict=True):
            table = getattr(self.model.model, f"{side}_embedding").weight
            counted = batch_shares(ids, len(table), len(batch.users))
            shares[side] = counted.to(table).unsqueeze(-1)
        return shares


class FactorisationGradients(_PairwiseGradients):
    """The derivatives of BPR matrix factorisation, in closed form."""

    def fit(self, batch: Triples, read: object = None) -> tuple[ByName, Answer]:
        """See :class:`Gradients`."""

        def answer(direction: ByName) -> ByName:
            users, items = direction.values()
            part = batch.part(share)
            moved = bpr_row_tangents(tables, (users, items), part, share.total)
            return self._in_tables(batch, *joined_rows(*moved, share))

        tables, share = self._tables(), share_of(len(batch.users))
        found = shared_row_gradients(*tables, batch)
        return self._in_tables(batch, found.users, found.items), answer

    def ranking(self, batch: Triples, temperature: Temperature | None = None) -> Outer:
        """See :class:`Gradients`."""
        users, items = self._tables()
        share = share_of(len(batch.users))
        batch = batch.part(share)
        scale = 1.0
        if temperature is not None:
            rows, (positive, negative) = users[batch.users], items[batch.items].chunk(2)
            margins = (rows * (positive - negative)).sum(-1)
            scale = following(temperature, share)(bpr_derivatives(margins, share.total)).item()
        found = bpr_row_gradients(users * scale, items, batch, share.total)
        gradients = self._in_tables(batch, found.users * scale, found.items)
        return Outer(found.loss, gradients, self.rows(batch), share)

    def _tables(self) -> tuple[Tensor, Tensor]:
        users, items = (table.detach() for table in self.parameters.values())
        return users, items

    def _in_tables(self, batch: Triples, for_users: Tensor, for_items: Tensor) -> ByName:
        """Sum the rows of a batch's occurrences into whole tables."""
        summed = {name: torch.zeros_like(table) for name, table in self.parameters.items()}
        users, items = summed.values()
        users.index_add_(0, batch.users, for_users)
        items.index_add_(0, batch.items, for_items)
        return summed


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
