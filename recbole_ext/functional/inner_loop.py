"""The inner loop of a meta-learner, for a batch of tasks at once.

Each task has its own copy of a network's weights: a leading dimension of every tensor. Tasks do not
touch one another, so the gradient of the *sum* of their losses holds each task's own gradient.

Reference:
    Finn et al. "Model-Agnostic Meta-Learning." ICML 2017. Lee et al. "MeLU." KDD 2019, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

# What a task adapts, each tensor with a leading dimension of tasks. Of a network alternately a
# layer's weight, shape: [tasks, in, out], and its bias, shape: [tasks, 1, out].
Weights: TypeAlias = list[Tensor]


def mlp(inputs: Tensor, weights: Weights) -> Tensor:
    """A network with ReLU between its layers and one output, each task with weights of its own.

    Args:
        inputs: shape: [tasks, ratings, in]
        weights: of each layer, shape: [tasks, in, out] and [tasks, 1, out]

    Returns:
        shape: [tasks, ratings]
    """
    last = len(weights) - 2
    for at in range(0, len(weights), 2):
        inputs = torch.baddbmm(weights[at + 1], inputs, weights[at])
        if at < last:
            inputs = inputs.relu()
    return inputs.squeeze(-1)


def mean_error(predicted: Tensor, ratings: Tensor, mask: Tensor, kind: str = "squared") -> Tensor:
    """Mean over each task's ratings; 0 for a task without any.

    Args:
        predicted: shape: [tasks, ratings]
        ratings: shape: [tasks, ratings]
        mask: 1 for a rating, 0 for padding, shape: [tasks, ratings]
        kind: of error, ``squared`` or ``absolute``.

    Returns:
        shape: [tasks]
    """
    errors = predicted - ratings
    errors = errors.square() if kind == "squared" else errors.abs()
    return (errors * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def adapt(
    parameters: Sequence[Tensor],
    rates: Sequence[Tensor | float],
    inputs: Tensor,
    ratings: Tensor,
    mask: Tensor,
    steps: int,
    first_order: bool,
) -> Weights:
    """Take gradient steps on each task's support loss, from the same weights for all tasks.

    Args:
        parameters: each layer's weight, shape: [in, out], and bias, shape: [1, out]
        rates: step size of each of them.
        inputs: of the support set, shape: [tasks, ratings, in]
        ratings: shape: [tasks, ratings]
        mask: shape: [tasks, ratings]
        steps: number of steps.
        first_order: hold the steps' gradients constant, so that no graph of them is kept.

    Returns:
        Each task's weights; the parameters themselves for a task without support.
    """
    weights = [parameter.expand(len(inputs), *parameter.shape) for parameter in parameters]
    inputs = inputs.detach() if first_order else inputs
    for _ in range(steps):
        loss = mean_error(mlp(inputs, weights), ratings, mask).sum()
        gradients = torch.autograd.grad(loss, weights, create_graph=not first_order)
        weights = [w - rate * g for w, rate, g in zip(weights, rates, gradients, strict=True)]
    return weights
