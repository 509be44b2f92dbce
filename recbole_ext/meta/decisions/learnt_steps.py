"""The inner loop of a decision that adapts by gradient steps."""

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

# Takes what a network reads of the users and of some items, the weights, and which items they are.
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
    """Steps on a support set, with a step size for each of the weights that may be learnt.

    Args:
        settings: of the steps.
        sizes: which step size each tensor that adapts has; parts of one weight share theirs.
    """

    def __init__(self, settings: InnerLoopSettings, sizes: list[int]) -> None:
        super().__init__()
        self.settings, self.sizes = settings, sizes
        # Logarithms, of the given rate.
        of_rates = torch.zeros(max(sizes) + 1)
        self.log_rates = nn.Parameter(of_rates, requires_grad=settings.learn_inner_rates)

    def forward(self, start: Tensors, loss: SupportLoss, mask: Tensor) -> Weights:
        """Each task's weights after the steps, without a graph of them unless in training.

        Args:
            start: the weights to begin with.
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
        """Each task's weights after steps on what a network reads of its support set.

        Args:
            start: the weights to begin with.
            user: what the network reads of the users, shape: [tasks, 1, user_size]
            items: what it reads of the rated items, shape: [tasks, ratings, item_size]
            mask: shape: [tasks, ratings]
            error: gives each task's loss on a part of the items, shape: [tasks].
        """
        if self.first_order:  # all that the loss reads besides the weights is constant then
            user, items = user.detach(), items.detach()
        parts = Parts(items)
        return self(start, lambda weights, part: error(user, parts[part], weights, part), mask)

    @property
    def first_order(self) -> bool:
        """Whether no graph of the steps is kept: if so set, and in evaluation."""
        return self.settings.first_order or not self.training

    def rates(self) -> list[Tensor | float]:
        """The step size of each of the weights; to be differentiated where it is learnt."""
        rate = self.settings.inner_learning_rate
        if not self.settings.learn_inner_rates:
            return [rate] * len(self.sizes)
        rates = rate * self.log_rates.exp()
        learnt = list(rates) if self.training else rates.tolist()
        return [learnt[at] for at in self.sizes]

    def steps_on(self, mask: Tensor) -> Tensor:
        """How many steps each support set is given, shape: [tasks].

        Args:
            mask: shape: [tasks, ratings]
        """
        parts = mini_batches(mask.shape[1], self.settings.inner_batch_size)
        active = [mask[:, part].any(-1) for part in parts]
        return self.settings.inner_steps * sum(active, mask.new_zeros(len(mask)))


def network_weights(sizes: list[int]) -> nn.ParameterList:
    """Weights and biases of linear layers, started as ``nn.Linear`` does.

    Args:
        sizes: of the inputs and of each layer.

    Returns:
        Of each layer alternately shape: [in, out] and shape: [1, out]
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
