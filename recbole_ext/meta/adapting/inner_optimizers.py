"""Differentiable optimisers for an inner loop; each task has a state of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from recbole_ext.arithmetic.adam_moments import AdamState

Tensors: TypeAlias = list[Tensor]


class Adam:
    """Adam with its usual constants; it starts anew for each support set.

    Args:
        rates: step size of each weight.
    """

    def __init__(
        self,
        rates: Sequence[Tensor | float],
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.rates, self.betas, self.epsilon = rates, betas, epsilon
        self._means: Tensors = []
        self._squares: Tensors = []
        self._steps = torch.tensor(0.0)  # later one count for each task, shape: [tasks]

    def step(self, weights: Tensors, gradients: Sequence[Tensor], active: Tensor) -> Tensors:
        """The weights after a step; those of an inactive task stay as they are.

        Args:
            weights: shape: [tasks, ...]
            gradients: gradients of the same shapes; 0 for an inactive task.
            active: whether a task takes this step, shape: [tasks]
        """
        if not self._means:
            self._means = [torch.zeros_like(g) for g in gradients]
            self._squares = [torch.zeros_like(g) for g in gradients]
        before = self._steps.to(active.device)
        self._steps = before + active
        new = []
        for at, (w, rate, g) in enumerate(zip(weights, self.rates, gradients, strict=True)):
            mine, count = _along(active, g), _along(before.to(g.dtype), g)
            after = AdamState(self._means[at], self._squares[at], count).advance(g, self.betas)
            self._means[at] = torch.where(mine, after.first, self._means[at])
            self._squares[at] = torch.where(mine, after.second, self._squares[at])
            mean, root = after.corrected(self.betas)
            new.append(torch.where(mine, w - rate * mean / (root + self.epsilon), w))
        return new


def _along(values: Tensor, like: Tensor) -> Tensor:
    """One value for each task, with as many dimensions as ``like``, shape: [tasks, 1, ...]."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
