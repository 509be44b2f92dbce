"""Adam's moments as a differentiable function of the gradients."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class AdamState(NamedTuple):
    """Adam's moments after a step, and the number of that step.

    Attributes:
        first: moving average of the gradients, in their shape.
        second: moving average of the squared gradients, in their shape.
        step: one number, or one for each leading row, shape: [rows, 1, ...]

    Reference:
        Kingma and Ba. "Adam." ICLR 2015, Algorithm 1.
    """

    first: Tensor
    second: Tensor
    step: int | Tensor

    def advance(self, gradient: Tensor, betas: tuple[float, float]) -> AdamState:
        """The moments after one more gradient; differentiable."""
        beta1, beta2 = betas
        first = beta1 * self.first + (1 - beta1) * gradient
        second = beta2 * self.second + (1 - beta2) * gradient * gradient
        return AdamState(first, second, self.step + 1)

    def corrected(self, betas: tuple[float, float]) -> tuple[Tensor, Tensor]:
        """``m̂`` and ``√v̂``, bias-corrected as ``torch.optim.Adam`` does; differentiable."""
        first = self.first / (1 - betas[0] ** self.step)
        second = self.second / (1 - betas[1] ** self.step)
        return first, safe_sqrt(second)


def safe_sqrt(value: Tensor) -> Tensor:
    """The square root with a derivative of 0 instead of infinity at 0 (a row without updates)."""
    positive = value > 0
    return torch.where(positive, value, 1.0).sqrt() * positive
