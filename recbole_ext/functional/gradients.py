"""Clipping that knows sparse gradients."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def clip_gradient_norm(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale gradients in place so that their joint L2 norm is at most ``max_norm``.

    As ``torch.nn.utils.clip_grad_norm_``, also for sparse gradients, whose repeated rows are added
    up first; the work follows the rows that they hold.

    Args:
        parameters: tensors; those without a gradient are passed over.
        max_norm: largest norm left.

    Returns:
        The norm before clipping, shape: []
    """
    values = [_values(parameter) for parameter in parameters if parameter.grad is not None]
    if not values:
        return torch.zeros(())
    norm = torch.stack([value.norm() for value in values]).norm()
    if norm > max_norm:
        for value in values:
            value.mul_(max_norm / (norm + 1e-6))
    return norm


def _values(parameter: Tensor) -> Tensor:
    gradient = parameter.grad
    assert gradient is not None
    if not gradient.is_sparse:
        return gradient
    parameter.grad = gradient.coalesce()
    return parameter.grad._values()
