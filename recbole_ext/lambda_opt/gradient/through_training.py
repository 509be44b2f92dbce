"""The hypergradient with respect to a few λ, through the whole training so far."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recbole_ext.lambda_opt.gradient.bpr import RowGradients, Triples
from recbole_ext.lambda_opt.gradient.derivatives import ByName, Gradients
from recbole_ext.lambda_opt.gradient.penalty import batch_shares
from recbole_ext.lambda_opt.gradient.tangents import Tangent, step_tangent
from recbole_ext.lambda_opt.lambda_network import LambdaNetwork


class ForwardGradient(nn.Module):
    """The gradient of λ through the whole training, computed from ``dΘ/dλ``.

    ``dΘ/dλ`` is updated along with the model. The class is a module so that checkpoints hold it.

    Args:
        gradients: the model's derivatives.
        optimizer: the model's optimiser; it is only read.
        sides: names of the parameters that hold the embeddings of each side, ``user`` and ``item``.
        network: the network that holds λ, with one number per table.
        stride: number of training steps that one step of the tangents represents; 1 is exact.
    """

    def __init__(
        self,
        gradients: Gradients,
        optimizer: Optimizer,
        sides: dict[str, str],
        network: LambdaNetwork,
        stride: int,
    ) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.sides = sides
        self.stride = stride
        self._coming: Triples | None = None
        self._parts = gradients, network  # in a tuple, so that this module does not save them
        for strength in network.tables:
            for name, parameter in gradients.parameters.items():
                for field in Tangent._fields:
                    buffer = self._buffer(strength, name, field)
                    self.register_buffer(buffer, torch.zeros_like(parameter))

    def begin(self, batch: Triples, read: RowGradients | None = None) -> None:
        """See :class:`~recbole_ext.lambda_opt.gradient.contract.Gradient`."""
        self._coming = batch

    def add(self, valid: Triples) -> Tensor:
        """See :class:`~recbole_ext.lambda_opt.gradient.contract.Gradient`."""
        gradients, network = self._parts
        loss, outer = gradients.ranking(valid)
        for strength, table in network.tables.items():
            moved = [(outer[n] * self._tangent(strength, n).table).sum() for n in outer]
            table.grad = torch.stack(moved).sum().expand_as(table).clone()
        return loss

    def end(self) -> None:
        """Update the tangents for the coming model step."""
        assert self._coming is not None
        self._advance(self._coming)
        self._coming = None

    @torch.no_grad()
    def _advance(self, train: Triples) -> None:
        gradients, network = self._parts
        fit, answer = gradients.fit(train)
        shares = self._shares(train)
        pulls = self._pulls(shares, self.optimizer.param_groups[0].get("weight_decay", 0.0))
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
                step_tangent(
                    self.optimizer, parameter, fit[name], tangent, moved[name], self.stride
                )

    def _shares(self, batch: Triples) -> ByName:
        """Each row's share in the batch's penalty times the factor of its λ, shape: [n_rows, 1]."""
        shares = {}
        for (side, name), ids in zip(self.sides.items(), (batch.users, batch.items), strict=True):
            table = self._parts[0].parameters[name]
            counted = batch_shares(ids, len(table), len(batch.users))
            shares[side] = counted.to(table).unsqueeze(-1) * self._parts[1].scale_of(side)
        return shares

    def _pulls(self, shares: ByName, weight_decay: float) -> dict[str, Tensor | float]:
        """The factor of ``Θ`` in the gradient of penalty and weight decay, by parameter."""
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
