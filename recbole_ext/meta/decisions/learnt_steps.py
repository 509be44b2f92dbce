"""The inner loop of decisions that adapt by gradient steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
from torch import Tensor, nn

from recbole_ext.meta.adapting.inner_loop import (
    Parts,
    SupportLoss,
    Weights,
    adapt,
    descend,
    mini_batches,
)
from recbole_ext.meta.adapting.inner_optimizers import Adam, Tensors
from recbole_ext.settings.declared import FLAG, Declared, all_or_whole, one_of, real, whole

INNER_OPTIMIZERS = ("sgd", "adam")

# A function that returns each task's loss. It takes the embeddings of the users and of some items,
# the weights, and the columns of the support sets that hold these items.
PartError: TypeAlias = Callable[[Tensor, Tensor, Weights, slice], Tensor]


@dataclass(frozen=True)
class InnerLoopSettings(Declared):
    """How a network adapts by gradient steps: ``inner_solver: gradient``."""

    inner_steps: Annotated[int, whole(1), "How many times steps are taken on a support set."]
    inner_batch_size: Annotated[
        int | None,
        all_or_whole(1),
        "How many ratings of a support set a step sees. With a number, steps on one part after "
        "another are taken.",
    ]
    inner_optimizer: Annotated[
        str,
        one_of(*INNER_OPTIMIZERS),
        "What takes the steps: gradient descent, or Adam. Adam starts anew for each support set.",
    ]
    inner_learning_rate: Annotated[
        float, real(above=0), "The step size (α in MeLU's paper, ρ in MAMO's)."
    ]
    learn_inner_rates: Annotated[
        bool,
        FLAG,
        "Whether each weight and bias learns its own step size. It starts from "
        "inner_learning_rate.",
    ]
    first_order: Annotated[
        bool,
        FLAG,
        "Whether the inner gradients are held constant. Otherwise training differentiates through "
        "them.",
    ]


class InnerLoop(nn.Module):
    """Steps on a support set; each weight has a step size, which may be learnt.

    Args:
        settings: the settings of the steps.
        sizes: index of the step size of each tensor that adapts; parts of one weight share one.
    """

    def __init__(self, settings: InnerLoopSettings, sizes: list[int]) -> None:
        super().__init__()
        self.settings, self.sizes = settings, sizes
        # Logarithms of the step sizes, relative to inner_learning_rate.
        of_rates = torch.zeros(max(sizes) + 1)
        self.log_rates = nn.Parameter(of_rates, requires_grad=settings.learn_inner_rates)

    def forward(self, start: Tensors, loss: SupportLoss, mask: Tensor) -> Weights:
        """Each task's weights after the steps; outside of training they have no graph.

        Args:
            start: the initial weights.
            loss: see :func:`~recbole_ext.meta.adapting.inner_loop.adapt`.
            mask: shape: [tasks, ratings]
        """
        settings = self.settings
        parts = mini_batches(mask.shape[1], settings.inner_batch_size) * settings.inner_steps
        rates = self.rates()
        if not self.training:
            start = [weight.detach() for weight in start]
        with torch.enable_grad():  # RecBole evaluates without gradients
            if settings.inner_optimizer == "sgd":
                weights = descend(start, loss, mask, parts, rates, self.first_order)
            else:
                weights = adapt(start, loss, mask, parts, Adam(rates), self.first_order)
        return weights if self.training else [weight.detach() for weight in weights]

    def adapt(
        self, start: Tensors, user: Tensor, items: Tensor, mask: Tensor, error: PartError
    ) -> Weights:
        """Each task's weights after the steps, for a network on embeddings of users and items.

        Args:
            start: the initial weights.
            user: embeddings of the users, shape: [tasks, 1, user_size]
            items: embeddings of the rated items, shape: [tasks, ratings, item_size]
            mask: shape: [tasks, ratings]
            error: gives each task's loss on a part of the items, shape: [tasks].
        """
        if self.first_order:  # then only the weights need gradients
            user, items = user.detach(), items.detach()
        parts = Parts(items)
        return self(start, lambda weights, part: error(user, parts[part], weights, part), mask)

    @property
    def first_order(self) -> bool:
        """Whether no graph of the steps is kept: with ``first_order`` and in evaluation."""
        return self.settings.first_order or not self.training

    def rates(self) -> list[Tensor | float]:
        """The step size of each weight; in training a learnt one has a graph."""
        rate = self.settings.inner_learning_rate
        if not self.settings.learn_inner_rates:
            return [rate] * len(self.sizes)
        rates = rate * self.log_rates.exp()
        learnt = list(rates) if self.training else rates.tolist()
        return [learnt[at] for at in self.sizes]

    def steps_on(self, mask: Tensor) -> Tensor:
        """The number of steps on each support set, shape: [tasks].

        Args:
            mask: shape: [tasks, ratings]
        """
        parts = mini_batches(mask.shape[1], self.settings.inner_batch_size)
        active = [mask[:, part].any(-1) for part in parts]
        return self.settings.inner_steps * sum(active, mask.new_zeros(len(mask)))


def network_weights(sizes: list[int]) -> nn.ParameterList:
    """Weights and biases of linear layers, initialised as ``nn.Linear`` does.

    Args:
        sizes: the size of the inputs and of each layer.

    Returns:
        Weight and bias of each layer in turn, shape: [in, out] and shape: [1, out]
    """
    weights = nn.ParameterList()
    for before, after in itertools.pairwise(sizes):
        layer = nn.Linear(before, after)
        weights.append(nn.Parameter(layer.weight.detach().T.clone()))
        weights.append(nn.Parameter(layer.bias.detach().unsqueeze(0).clone()))
    return weights


def for_each(weights: nn.ParameterList, tasks: int) -> Tensors:
    """The same weights for each of some tasks."""
    return [weight.expand(tasks, *weight.shape) for weight in weights]
