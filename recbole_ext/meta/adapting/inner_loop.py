"""The inner loop of a meta-learner, for a batch of tasks at once.

Each task has its own copy of a network's weights, so that every tensor has a leading dimension of
tasks. A task's loss depends only on its own copy, so the gradient of the *sum* of the losses holds
each task's own gradient.

Reference:
    Finn et al. "Model-Agnostic Meta-Learning." ICML 2017. Lee et al. "MeLU." KDD 2019, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from recbole_ext.meta.adapting.factored_weight import FactoredWeight, Weight, linear
from recbole_ext.meta.adapting.inner_optimizers import Adam, Tensors

# The tensors that a task adapts, with a leading dimension of tasks. For a network they are each
# layer's weight, shape: [tasks, in, out], and bias, shape: [tasks, 1, out], in turn.
Weights: TypeAlias = Sequence[Weight]

# A function that returns each task's loss on some columns of its support set, shape: [tasks].
SupportLoss: TypeAlias = Callable[[Weights, slice], Tensor]


def mlp(
    inputs: Tensor,
    weights: Weights,
    activation: Callable[[Tensor], Tensor] = torch.relu,
    activate_last: bool = False,
) -> Tensor:
    """The outputs of a network in which each task has weights of its own.

    Args:
        inputs: shape: [tasks, ratings, in]
        weights: weight and bias of each layer, shape: [tasks, in, out] and [tasks, 1, out]
        activation: the function between the layers.
        activate_last: whether the activation also follows the last layer.

    Returns:
        shape: [tasks, ratings, out]
    """
    for at in range(0, len(weights), 2):
        inputs = linear(inputs, weights[at], weights[at + 1])  # type: ignore[arg-type]
        if activate_last or at < len(weights) - 2:
            inputs = activation(inputs)
    return inputs


def mean_error(predicted: Tensor, ratings: Tensor, mask: Tensor, kind: str = "squared") -> Tensor:
    """The mean error over each task's ratings; 0 for a task without ratings.

    Args:
        predicted: shape: [tasks, ratings]
        ratings: shape: [tasks, ratings]
        mask: 1 for a rating, 0 for padding, shape: [tasks, ratings]
        kind: the kind of error, ``squared`` or ``absolute``.

    Returns:
        shape: [tasks]
    """
    errors = predicted - ratings
    return masked_mean(errors.square() if kind == "squared" else errors.abs(), mask)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of each row's values with mask 1; 0 for a row without any, shape: [tasks].

    Args:
        values: shape: [tasks, ratings]
        mask: shape: [tasks, ratings]
    """
    return (values * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def mini_batches(ratings: int, size: int | None) -> list[slice]:
    """The columns of a support set in parts of at most ``size``; ``None`` gives one part."""
    if size is None:
        return [slice(None)]
    return [slice(begin, begin + size) for begin in range(0, ratings, size)]


class Parts:
    """Columns of a tensor; the same columns give the same object, so that results can be reused."""

    def __init__(self, values: Tensor) -> None:
        self._values = values
        self._parts: dict[tuple, Tensor] = {}

    def __getitem__(self, part: slice) -> Tensor:
        return self._parts.setdefault((part.start, part.stop), self._values[:, part])


def adapt(
    start: Tensors,
    loss: SupportLoss,
    mask: Tensor,
    parts: Sequence[slice],
    optimizer: Adam,
    first_order: bool,
) -> Weights:
    """Take one step on each part of each task's support set.

    Args:
        start: the initial weights of each task.
        loss: gives the loss of each task on a part.
        mask: 1 for a rating, 0 for padding; a task without ratings in a part takes no step on it,
            shape: [tasks, ratings]
        parts: columns of the support sets, in order; a part may occur more than once.
        optimizer: takes the steps.
        first_order: whether the steps' gradients are constants, of which no graph is kept.

    Returns:
        Each task's weights; a task without ratings keeps its initial weights.
    """
    weights: Tensors = [w if w.requires_grad else w.detach().requires_grad_() for w in start]
    for part in parts:
        total = loss(list(weights), part).sum()
        gradients = torch.autograd.grad(total, weights, create_graph=not first_order)
        weights = optimizer.step(weights, gradients, mask[:, part].any(-1))
    return list(weights)


def descend(
    start: Tensors,
    loss: SupportLoss,
    mask: Tensor,
    parts: Sequence[slice],
    rates: Sequence[Tensor | float],
    first_order: bool,
) -> Weights:
    """The same as :func:`adapt` with plain gradient steps, which need less memory.

    Args:
        start: the initial weights of each task.
        loss: gives the loss of each task on a part; it applies each weight once, by
            :func:`~factored_weight.linear`.
        mask: shape: [tasks, ratings]
        parts: columns of the support sets, in order.
        rates: step size of each weight.
        first_order: whether the steps' gradients are constants, of which no graph is kept.

    Returns:
        Each task's weights.
    """
    room = sum(mask[:, part].shape[1] for part in parts)
    weights: list[Weight] = []
    for before in start:
        if FactoredWeight.pays(before, room):
            weights.append(FactoredWeight(before, room, len(parts), first_order))
        elif first_order or not before.requires_grad:
            weights.append(before.detach().requires_grad_())
        else:
            weights.append(before)
    moved: dict[int, Tensor] = {}  # first order: the sum of the steps of each dense weight
    for part in parts:
        total = loss(weights, part).sum()
        of = [w.outputs if isinstance(w, FactoredWeight) else w for w in weights]
        found = torch.autograd.grad(total, of, create_graph=not first_order)
        for at, (weight, gradient) in enumerate(zip(weights, found, strict=True)):
            if isinstance(weight, FactoredWeight):
                weight.step(gradient, rates[at])
            elif first_order:  # the gradient is a constant, but the step size may be learnt
                moved[at] = moved.get(at, torch.zeros_like(gradient)) + rates[at] * gradient
                weights[at] = (start[at] - moved[at]).detach().requires_grad_()
            else:
                weights[at] = weight - rates[at] * gradient
    for at, far in moved.items():
        weights[at] = start[at] - far
    return [w.end() if isinstance(w, FactoredWeight) else w for w in weights]
