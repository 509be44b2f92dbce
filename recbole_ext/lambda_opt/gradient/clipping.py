"""Gradient clipping that also works for sparse gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from recbole_ext.lambda_opt.gradient.owners import RowOwner

NO_OWNERS: Mapping[Tensor, RowOwner] = {}


@torch.no_grad()
def clip_gradient_norm(
    parameters: Iterable[Tensor], max_norm: float, owners: Mapping[Tensor, RowOwner] = NO_OWNERS
) -> Tensor:
    """Scale gradients in place so that their joint L2 norm is at most ``max_norm``.

    The function does the same as ``torch.nn.utils.clip_grad_norm_``, for sparse gradients too.
    Repeated rows of a sparse gradient are added up first. The cost grows with the rows that the
    gradients hold, not with the size of the tables.

    Args:
        parameters: tensors; those without a gradient are skipped.
        max_norm: the largest norm allowed.
        owners: the owners of the rows of some parameters; the norm is that of all their rows.

    Returns:
        The norm before clipping, shape: []
    """
    values = {weight: _values(weight) for weight in parameters if weight.grad is not None}
    if not values:
        return torch.zeros(())
    norms = [_norm(value, owners.get(weight)) for weight, value in values.items()]
    norm = torch.stack(norms).norm()
    if norm > max_norm:
        for value in values.values():
            value.mul_(max_norm / (norm + 1e-6))
    return norm


def _norm(value: Tensor, owner: RowOwner | None) -> Tensor:
    norm = value.norm()
    return owner.sum(norm.square()).sqrt() if owner is not None and owner.is_spread else norm


def _values(parameter: Tensor) -> Tensor:
    gradient = parameter.grad
    assert gradient is not None
    if not gradient.is_sparse:
        return gradient
    parameter.grad = gradient.coalesce()
    return parameter.grad._values()
