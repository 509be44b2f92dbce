"""Optimisers of an inner loop: differentiable, and each task with a state of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Tensors: TypeAlias = list[Tensor]

_TINY = 1e-30  # the root of 0 has no derivative


class Adam:
    """Adam with its usual constants, started anew for each support set.

    Args:
        rates: step size of each of the weights.

    Reference:
        Kingma and Ba. "Adam." ICLR 2015, Algorithm 1.
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
        self._steps = torch.tensor(0.0)  # then of each task, shape: [tasks]

    def step(self, weights: Tensors, gradients: Sequence[Tensor], active: Tensor) -> Tensors:
        """New weights; those of a task that is not active stay.

        Args:
            weights: shape: [tasks, ...]
            gradients: of the same shapes; 0 for a task that is not active.
            active: whether a task takes this step, shape: [tasks]
        """
        if not self._means:
            self._means = [torch.zeros_like(g) for g in gradients]
            self._squares = [torch.zeros_like(g) for g in gradients]
        first, second = self.betas
        self._steps = self._steps.to(active.device) + active
        new = []
        for at, (w, rate, g) in enumerate(zip(weights, self.rates, gradients, strict=True)):
            mine = _along(active, g)
            mean = first * self._means[at] + (1 - first) * g
            square = second * self._squares[at] + (1 - second) * g.square()
            self._means[at] = torch.where(mine, mean, self._means[at])
            self._squares[at] = torch.where(mine, square, self._squares[at])
            count = _along(self._steps.to(g.dtype).clamp(min=1), g)
            root = (square / (1 - second**count) + _TINY).sqrt() + self.epsilon
            new.append(torch.where(mine, w - rate * mean / (1 - first**count) / root, w))
        return new


def _along(values: Tensor, like: Tensor) -> Tensor:
    """Values of tasks, shape: [tasks, 1, ...] with as many dimensions as another tensor."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
