"""A loss whose gradients are known already, as a tensor that ``backward`` works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def loss_with_gradients(
    loss: Tensor, parameters: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Tensor:
    """A loss that gives its parameters the given gradients.

    Args:
        loss: the value, shape: []
        parameters: the leaves that the loss depends on.
        gradients: the loss's gradient by each of them, in its shape.
    """
    with torch.enable_grad():
        return _Known.apply(loss, gradients, *parameters)


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: Sequence[Tensor], *_: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(gradient * of_loss for gradient in ctx.gradients)
