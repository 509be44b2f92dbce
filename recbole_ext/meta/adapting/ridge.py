"""Ridge regression for a batch of tasks at once."""

from __future__ import annotations

import torch
from torch import Tensor


def ridge_weights(
    features: Tensor, targets: Tensor, mask: Tensor, strength: Tensor | float
) -> Tensor:
    """The weights ``w`` that minimise ``Σ (target − features·w)² + strength · |w|²``, exactly.

    The result is differentiable with respect to all arguments but the mask.

    Args:
        features: shape: [tasks, ratings, size]
        targets: shape: [tasks, ratings]
        mask: 1 for a rating, 0 for padding, shape: [tasks, ratings]
        strength: strength of the penalty, above 0.

    Returns:
        The weights of each task, shape: [tasks, size]; 0 for a task without ratings.

    Reference:
        Bertinetto et al. "Meta-learning with differentiable closed-form solvers." ICLR 2019, eq. 4.
    """
    features = features * mask.unsqueeze(-1)
    transposed = features.transpose(1, 2)  # [tasks, size, ratings]
    identity = torch.eye(features.shape[-1], dtype=features.dtype, device=features.device)
    gram = transposed @ features + strength * identity
    projected = transposed @ (targets * mask).unsqueeze(-1)
    return torch.linalg.solve(gram, projected).squeeze(-1)
