"""Gradient clipping that also works for sparse gradients."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def clip_gradient_norm(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale gradients in place so that their joint L2 norm is at most ``max_norm``.

    The function does the same as ``torch.nn.utils.clip_grad_norm_``, for sparse gradients too.
    Repeated rows of a sparse gradient are added up first. The cost grows with the rows that the
    gradients hold, not with the size of the tables.

    Args:
        parameters: tensors; those without a gradient are skipped.
        max_norm: the largest norm allowed.

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
