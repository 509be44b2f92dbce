"""Gradient steps on a layer that never build the layer's new weight.

The gradient of a weight is ``xᵀδ``, the layer's inputs times the gradient of its outputs. Every
task has a weight of its own, and a few rows of ``x`` and ``δ`` hold far fewer numbers than such a
weight. The steps are therefore kept as rows, ``W − Σ xᵀδ``, and the outputs for other inputs ``x'``
are ``x'W − Σ (x'xᵀ)δ``.
"""

from __future__ import annotations

import copy
from typing import TypeAlias

import torch
from torch import Tensor


class FactoredWeight:
    """A layer's weight and the steps taken on it.

    Args:
        start: the initial weight, shape: [tasks, in, out]
        room: the largest number of rows of all steps together.
        steps: number of steps.
        first_order: whether the steps are constants, of which no graph is kept.
    """

    def __init__(self, start: Tensor, room: int, steps: int, first_order: bool) -> None:
        self.start, self.first_order = start, first_order
        self._base = self._shared(start.detach() if first_order else start)
        self._room, self._steps = room, steps
        self._inputs = start.new_empty(len(start), 0, start.shape[1])
        self._changes = start.new_empty(len(start), 0, start.shape[2])
        self._rank = 0
        self._called: tuple[Tensor, Tensor] | None = None
        # Inputs that recur (a user, or the same ratings in each pass). The key is the tensor's id;
        # the values are the tensor, its product with the initial weight, and its rows.
        self._known: dict[int, tuple[Tensor, Tensor, slice]] = {}
        self._ended = False

    @staticmethod
    def pays(start: Tensor, room: int) -> bool:
        """Whether ``room`` rows are less work than building the weight in each step."""
        is_bias = start.dim() < 3 or start.shape[1] == 1
        return not is_bias and room < 4 * min(start.shape[1:])

    def apply(self, inputs: Tensor) -> Tensor:
        """``inputs · W``, shape: [tasks, rows, out]; once in each step, until the steps end.

        Args:
            inputs: shape: [tasks, rows, in]
        """
        _, size, out = self.start.shape
        if self._ended and inputs.shape[1] * (size + out) > size * out:  # for many rows, build it
            return torch.bmm(inputs, self.dense())
        if self._called is not None:
            raise RuntimeError("a layer that adapts in steps may be called once in a step")
        known = self._known.get(id(inputs))
        outputs = torch.matmul(inputs, self._base) if known is None else known[1]
        if known is None and self.first_order and not (self._ended or inputs.requires_grad):
            rows = slice(self._rank, self._rank + inputs.shape[1])
            self._known[id(inputs)] = inputs, outputs, rows
        if self._rank:
            alike = torch.bmm(inputs, self._inputs[:, : self._rank].mT)
            outputs = torch.baddbmm(outputs, alike, self._changes[:, : self._rank], alpha=-1)
        if not self._ended:
            if not outputs.requires_grad:  # no layer before this one adapts
                outputs = outputs.detach().requires_grad_()
            self._called = inputs, outputs
        return outputs

    @property
    def outputs(self) -> Tensor:
        """The outputs that :meth:`apply` returned in this step."""
        assert self._called is not None
        return self._called[1]

    def step(self, gradient: Tensor, rate: Tensor | float) -> None:
        """Take a step of ``rate`` and begin another.

        Args:
            gradient: gradient of the outputs, shape: [tasks, rows, out]
            rate: step size.
        """
        assert self._called is not None
        inputs, self._called = self._called[0], None
        if not self.first_order:
            changes = gradient * rate
            if self._rank:
                inputs = torch.cat([self._inputs, inputs], dim=1)
                changes = torch.cat([self._changes, changes], dim=1)
            self._inputs, self._changes, self._rank = inputs, changes, inputs.shape[1]
            return
        if not self._rank:
            self._make_room(min(self._room, self._steps * inputs.shape[1]))
        rows = slice(self._rank, self._rank + inputs.shape[1])
        if id(inputs) in self._known:
            rows = self._known[id(inputs)][2]
        if rows.stop <= self._rank:
            self._changes[:, rows] += gradient * rate
        else:
            self._inputs[:, rows] = inputs.detach()
            self._changes[:, rows] = gradient * rate
            self._rank = rows.stop

    def _make_room(self, rows: int) -> None:
        tasks, size, out = self.start.shape
        self._inputs = self._inputs.new_empty(tasks, rows, size)
        self._changes = self._changes.new_empty(tasks, rows, out)

    def end(self) -> FactoredWeight:
        """The weight after the last step, with a graph to its start even if the steps have none."""
        self._ended, self._base, self._known = True, self._shared(self.start), {}
        return self

    def detach(self) -> FactoredWeight:
        """The same weight without a graph."""
        same = copy.copy(self)
        for name in ("start", "_base", "_inputs", "_changes"):
            setattr(same, name, getattr(self, name).detach())
        return same

    def dense(self) -> Tensor:
        """The weight itself, shape: [tasks, in, out]."""
        inputs, changes = self._inputs[:, : self._rank], self._changes[:, : self._rank]
        return self.start - torch.bmm(inputs.mT, changes)

    @staticmethod
    def _shared(weight: Tensor) -> Tensor:
        """One weight for all tasks if they start alike, so that one product serves all tasks."""
        return weight[0] if weight.stride(0) == 0 else weight


Weight: TypeAlias = Tensor | FactoredWeight


def dense(weight: Weight) -> Tensor:
    """A weight as a tensor."""
    return weight.dense() if isinstance(weight, FactoredWeight) else weight


def linear(inputs: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
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
