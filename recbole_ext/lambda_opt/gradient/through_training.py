"""The hypergradient with respect to a few weights of λ, through the whole training so far."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recbole_ext.lambda_opt.gradient.calibration import Temperature
from recbole_ext.lambda_opt.gradient.derivatives import ByName, Gradients, Outer, Rows
from recbole_ext.lambda_opt.gradient.optimizer_step import rows_of
from recbole_ext.lambda_opt.gradient.tangents import Tangent, TangentStep
from recbole_ext.lambda_opt.lambda_network import Strengths
from recbole_ext.processes.group import add_up, alone, group, of_process
from recbole_ext.processes.shares import sum_shares


class ForwardGradient(nn.Module):
    """The gradient of λ through the whole training, computed from ``Z = dΘ/dw``.

    Each weight ``w`` of λ has its own ``Z``, which is updated along with the model. The class is a
    module so that checkpoints hold it.

    Several processes divide the weights among them, if these are enough: each then works on whole
    batches, for the ``Z`` of its own weights. Otherwise they divide the batches.

    Args:
        gradients: the model's derivatives.
        optimizer: the model's optimiser; it is only read.
        sides: names of the parameters that hold the embeddings of each side, ``user`` and ``item``.
        network: the network that holds λ, with few weights.
        stride: number of training steps that one step of the tangents represents; 1 is exact.
        limit: the largest element of ``Z``; infinity is exact.
        calibrated: whether the outer loss does not depend on the scale of the scores.

    Attributes:
        row_owners: the owners of the rows of the buffers, by name.
    """

    def __init__(
        self,
        gradients: Gradients,
        optimizer: Optimizer,
        sides: dict[str, str],
        network: Strengths,
        stride: int = 1,
        limit: float = math.inf,
        calibrated: bool = False,
    ) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.sides = sides
        self.stride, self.limit = stride, limit
        self.memory = 1.0
        self.temperature = Temperature() if calibrated else None
        self._coming: tuple[Any, Any] | None = None
        self._parts = gradients, network  # in a tuple, so that this module does not save them
        self.row_owners = {}
        for weight in network.weights:
            for name, parameter in gradients.parameters.items():
                for field in Tangent._fields:
                    buffer = self._buffer(weight, name, field)
                    self.register_buffer(buffer, torch.zeros_like(parameter))
                    if name in gradients.owners:
                        self.row_owners[buffer] = gradients.owners[name]

    def remember(self, batches: int) -> None:
        """Forget what is longer ago than about so many training steps; 0 forgets nothing."""
        self.memory = math.exp(-self.stride / batches) if batches else 1.0

    def begin(self, batch: Any, read: Any = None) -> None:
        """See :class:`~recbole_ext.lambda_opt.gradient.contract.Gradient`."""
        self._coming = batch, read

    def add(self, valid: Any) -> Tensor:
        """See :class:`~recbole_ext.lambda_opt.gradient.contract.Gradient`."""
        gradients, network = self._parts
        mine = self._mine()
        with self.reading():
            outer = gradients.ranking(valid, self.temperature)
            zero = torch.zeros_like(outer.loss)
            found = [self._along(outer, n) if n in mine else zero for n in network.weights]
            loss, *found = sum_shares([outer.loss, *found], outer.share)
        if self.divides_weights:
            found = list(add_up(torch.stack(found)))
        for weight, gradient in zip(network.weights.values(), found, strict=True):
            weight.grad = gradient.expand_as(weight).clone()
        return loss

    def _along(self, outer: Outer, weight: str) -> Tensor:
        """How the outer loss changes with a weight of λ, shape: []."""
        changes = [
            (gradient * rows_of(self._tangent(weight, name).table, outer.rows[name])).sum()
            for name, gradient in outer.gradients.items()
        ]
        return torch.stack(changes).sum()

    def end(self) -> None:
        """Update the tangents for the coming model step."""
        assert self._coming is not None
        mine = self._mine()
        with self.reading():
            self._advance(*self._coming, mine)
        self._coming = None

    @property
    def divides_weights(self) -> bool:
        """Whether each process keeps the ``Z`` of its own weights only."""
        spread = any(owner.is_spread for owner in self.row_owners.values())
        return not spread and 1 < group().size <= len(self._parts[1].weights)

    def reading(self) -> AbstractContextManager[None]:
        """See :class:`~recbole_ext.lambda_opt.gradient.contract.Gradient`."""
        return alone() if self.divides_weights else nullcontext()

    def exchange(self) -> None:
        """Give each process the ``Z`` of all weights, as a checkpoint needs them."""
        if self.divides_weights:
            gradients, network = self._parts
            for at, weight in enumerate(network.weights):
                for name in gradients.parameters:
                    for part in self._tangent(weight, name):
                        of_process(at % group().size, part)

    def _mine(self) -> list[str]:
        """The weights whose ``Z`` this process updates."""
        weights = list(self._parts[1].weights)
        return weights[group().rank :: group().size] if self.divides_weights else weights

    @torch.no_grad()
    def _advance(self, train: Any, read: Any, mine: list[str]) -> None:
        gradients, network = self._parts
        fit, answer = gradients.fit(train, read)
        rows, shares = gradients.rows(train), gradients.shares(train)
        now = {name: rows_of(table, rows[name]) for name, table in gradients.parameters.items()}
        pulls = self._pulls(shares, rows)
        for name, pull in pulls.items():
            fit[name] = (pull * now[name]).add_(fit[name])
        rates = self.stride, self.memory
        steps = {
            name: TangentStep(self.optimizer, parameter, fit[name], *rates, rows[name])
            for name, parameter in gradients.parameters.items()
        }
        for weight in mine:
            tangents = {n: self._tangent(weight, n).rows(rows[n]) for n in now}
            direction = {name: tangent.table for name, tangent in tangents.items()}
            moved = answer(direction)
            for name, pull in pulls.items():
                moved[name] = (pull * direction[name]).add_(moved[name])
            for side, name in self.sides.items():
                slope = network.slope(weight, side, rows[name])
                if slope is not None:
                    moved[name] += 2 * shares[side] * slope * now[name]
            for name, step in steps.items():
                step.apply(tangents[name], moved[name])
                if self.limit < math.inf:
                    tangents[name].table.clamp_(-self.limit, self.limit)
                self._tangent(weight, name).write(rows[name], tangents[name])

    def _pulls(self, shares: ByName, rows: dict[str, Rows]) -> dict[str, Tensor | float]:
        """The factor of ``Θ`` in the gradient of penalty and weight decay, by parameter."""
        gradients, network = self._parts
        decay = self.optimizer.param_groups[0].get("weight_decay", 0.0)
        pulls: dict[str, Tensor | float] = dict.fromkeys(gradients.parameters, decay)
        for side, name in self.sides.items():
            strengths = network.fixed(side, rows[name])
            if strengths is not None:
                pulls[name] = pulls[name] + 2 * shares[side] * strengths
        return pulls

    def _tangent(self, weight: str, name: str) -> Tangent:
        names = (self._buffer(weight, name, field) for field in Tangent._fields)
        return Tangent(*(getattr(self, buffer) for buffer in names))

    @staticmethod
    def _buffer(weight: str, name: str, field: str) -> str:
        return f"{weight}|{name}|{field}".replace(".", "/")
