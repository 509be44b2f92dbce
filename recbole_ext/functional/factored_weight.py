"""Gradient steps on a layer without writing its weight.

The gradient of a weight is ``xᵀδ``: the layer's inputs times the gradient of its outputs. A few
rows are far fewer numbers than a weight, and every task has a weight of its own; so the steps are
kept as rows, ``W − Σ xᵀδ``, and added up once, at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor


class FactoredWeight:
    """A layer's weight and the steps taken on it; for gradients that are held constant.

    Args:
        start: the weight to begin with, shape: [tasks, in, out]
        room: the most rows that all steps together will have.
    """

    def __init__(self, start: Tensor, room: int) -> None:
        tasks, size, out = start.shape
        self.start, self._constant = start, start.detach()
        if start.stride(0) == 0:  # all tasks begin with the same, which is one product for all
            self._constant = self._constant[0]
        self._inputs = self._constant.new_empty(tasks, room, size)
        self._changes = self._constant.new_empty(tasks, room, out)
        self._rank = 0
        self._called: tuple[Tensor, Tensor] | None = None

    @staticmethod
    def pays(start: Tensor, room: int) -> bool:
        """Whether so many rows are less work than writing the weight at each step."""
        is_bias = start.dim() < 3 or start.shape[1] == 1
        return not is_bias and room < 4 * min(start.shape[1:])

    def apply(self, inputs: Tensor) -> Tensor:
        """``inputs · W``, once in each step, shape: [tasks, rows, out].

        Args:
            inputs: shape: [tasks, rows, in]
        """
        if self._called is not None:
            raise RuntimeError("a layer that adapts in steps may be called once in a step")
        outputs = torch.matmul(inputs, self._constant)
        if self._rank:
            alike = torch.bmm(inputs, self._inputs[:, : self._rank].mT)
            outputs = torch.baddbmm(outputs, alike, self._changes[:, : self._rank], alpha=-1)
        if not outputs.requires_grad:  # nothing before it adapts
            outputs.requires_grad_()
        self._called = inputs.detach(), outputs
        return outputs

    @property
    def outputs(self) -> Tensor:
        """What :meth:`apply` returned in this step."""
        assert self._called is not None
        return self._called[1]

    def step(self, gradient: Tensor, rate: float) -> None:
        """Take a step of ``rate`` and begin another.

        Args:
            gradient: of the outputs, shape: [tasks, rows, out]
            rate: step size.
        """
        assert self._called is not None
        inputs, self._called = self._called[0], None
        rows = slice(self._rank, self._rank + inputs.shape[1])
        self._inputs[:, rows] = inputs
        torch.mul(gradient, rate, out=self._changes[:, rows])
        self._rank = rows.stop

    def dense(self) -> Tensor:
        """The weight after the steps, which are constants to it, shape: [tasks, in, out]."""
        inputs, changes = self._inputs[:, : self._rank], self._changes[:, : self._rank]
        return self.start - torch.bmm(inputs.mT, changes)


def linear(inputs: Tensor, weight: Tensor | FactoredWeight, bias: Tensor | None = None) -> Tensor:
    """A linear layer, each task with its own weight and bias, shape: [tasks, rows, out].

    Args:
        inputs: shape: [tasks, rows, in]
        weight: shape: [tasks, in, out]
        bias: shape: [tasks, 1, out]
    """
    if isinstance(weight, FactoredWeight):
        outputs = weight.apply(inputs)
        return outputs if bias is None else outputs + bias
    return torch.bmm(inputs, weight) if bias is None else torch.baddbmm(bias, inputs, weight)
