"""The hypergradient of a few λ through the whole training so far."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recbole_ext.functional.bpr import RowGradients, Triples
from recbole_ext.functional.forward import Tangent, step_tangent
from recbole_ext.functional.penalty import batch_shares
from recbole_ext.lambda_network import LambdaNetwork
from recbole_ext.trainer.gradients import ByName, Gradients


class ForwardGradient(nn.Module):
    """Carries ``dΘ/dλ`` along with the training; a module, so that it is in the checkpoint.

    Args:
        gradients: the model's derivatives.
        sides: names of the parameters that hold the users' and the items' embeddings.
        network: λ tables of one number each.
        stride: each step of the tangents stands for so many training steps; 1 is exact.
    """

    def __init__(
        self, gradients: Gradients, sides: dict[str, str], network: LambdaNetwork, stride: int
    ) -> None:
        super().__init__()
        self.sides = sides
        self.stride = stride
        self._parts = gradients, network  # in a tuple: they are saved elsewhere
        for strength in network.tables:
            for name, parameter in gradients.parameters.items():
                for field in Tangent._fields:
                    buffer = self._buffer(strength, name, field)
                    self.register_buffer(buffer, torch.zeros_like(parameter))

    def forward(self, train: Triples, valid: Triples, read: RowGradients | None = None) -> Tensor:
        """Add the hypergradient of a validation batch to the λ tables' ``grad``.

        Args:
            train: not used; the tangents hold what training did.
            valid: the validation batch.
            read: not used.

        Returns:
            The validation loss, shape: []
        """
        gradients, network = self._parts
        loss, outer = gradients.ranking(valid)
        for strength, table in network.tables.items():
            moved = [(outer[n] * self._tangent(strength, n).table).sum() for n in outer]
            table.grad = torch.stack(moved).sum().expand_as(table).clone()
        return loss

    @torch.no_grad()
    def advance(self, train: Triples, optimizer: Optimizer) -> None:
        """Take the tangents through the model step that is about to come.

        Args:
            train: the batch of that step.
            optimizer: the model's own, before the step; it is only read.
        """
        gradients, network = self._parts
        fit, answer = gradients.fit(train)
        shares = self._shares(train)
        pulls = self._pulls(shares, optimizer.param_groups[0].get("weight_decay", 0.0))
        for name, pull in pulls.items():
            fit[name] = fit[name] + pull * gradients.parameters[name]
        for strength, table in network.tables.items():
            direction = {n: self._tangent(strength, n).table for n in gradients.parameters}
            moved = answer(direction)
            for name, pull in pulls.items():
                moved[name] = moved[name] + pull * direction[name]
            for side, name in self.sides.items():
                if network.side_table(side) is table:
                    moved[name] += 2 * shares[side] * gradients.parameters[name]
            for name, parameter in gradients.parameters.items():
                tangent = self._tangent(strength, name)
                step_tangent(optimizer, parameter, fit[name], tangent, moved[name], self.stride)

    def _shares(self, batch: Triples) -> ByName:
        """Each row's share in the batch's penalty, λ's factor included, by side: [n_rows, 1]."""
        shares = {}
        for (side, name), ids in zip(self.sides.items(), (batch.users, batch.items), strict=True):
            table = self._parts[0].parameters[name]
            counted = batch_shares(ids, len(table), len(batch.users))
            shares[side] = counted.to(table).unsqueeze(-1) * self._parts[1].scale_of(side)
        return shares

    def _pulls(self, shares: ByName, weight_decay: float) -> dict[str, Tensor | float]:
        """The factor of ``Θ`` in the penalty's gradient, by parameter."""
        gradients, network = self._parts
        pulls: dict[str, Tensor | float] = dict.fromkeys(gradients.parameters, weight_decay)
        for side, name in self.sides.items():
            table = network.side_table(side)
            if table is not None:
                pulls[name] = pulls[name] + 2 * shares[side] * table.detach()
        return pulls

    def _tangent(self, strength: str, name: str) -> Tangent:
        names = (self._buffer(strength, name, field) for field in Tangent._fields)
        return Tangent(*(getattr(self, buffer) for buffer in names))

    @staticmethod
    def _buffer(strength: str, name: str, field: str) -> str:
        return f"{strength}|{name}|{field}".replace(".", "/")
