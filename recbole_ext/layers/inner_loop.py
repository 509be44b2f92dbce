"""The inner loop of a decision that adapts by gradient steps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recbole_ext.functional.inner_loop import SupportLoss, Weights, adapt, descend, mini_batches
from recbole_ext.functional.inner_optimizers import Adam, Tensors

INNER_OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class InnerLoopSettings:
    """How a network adapts; ``properties/model/MeLU.yaml`` explains each field."""

    steps: int
    batch_size: int | None
    optimizer: str
    learning_rate: float
    learn_rates: bool
    first_order: bool


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
        self.log_rates = nn.Parameter(of_rates, requires_grad=settings.learn_rates)

    def forward(self, start: Tensors, loss: SupportLoss, mask: Tensor) -> Weights:
        """Each task's weights after the steps, without a graph of them unless in training.

        Args:
            start: the weights to begin with.
            loss: see :func:`~recbole_ext.functional.inner_loop.adapt`.
            mask: shape: [tasks, ratings]
        """
        settings = self.settings
        parts = mini_batches(mask.shape[1], settings.batch_size) * settings.steps
        rates = self.rates()
        if not self.training:
            start = [weight.detach() for weight in start]
        with torch.enable_grad():  # RecBole evaluates without gradients
            if settings.optimizer == "sgd":
                weights = descend(start, loss, mask, parts, rates, self.first_order)
            else:
                weights = adapt(start, loss, mask, parts, Adam(rates), self.first_order)
        return weights if self.training else [weight.detach() for weight in weights]

    def inputs(self, *values: Tensor) -> list[Tensor]:
        """What the loss reads besides the weights; constants where the steps are."""
        return [value.detach() for value in values] if self.first_order else list(values)

    @property
    def first_order(self) -> bool:
        """Whether no graph of the steps is kept: if so set, and in evaluation."""
        return self.settings.first_order or not self.training

    def rates(self) -> list[Tensor | float]:
        """The step size of each of the weights; to be differentiated where it is learnt."""
        rate = self.settings.learning_rate
        if not self.settings.learn_rates:
            return [rate] * len(self.sizes)
        rates = rate * self.log_rates.exp()
        learnt = list(rates) if self.training else rates.tolist()
        return [learnt[at] for at in self.sizes]

    def steps_on(self, mask: Tensor) -> Tensor:
        """How many steps each support set is given, shape: [tasks].

        Args:
            mask: shape: [tasks, ratings]
        """
        parts = mini_batches(mask.shape[1], self.settings.batch_size)
        active = [mask[:, part].any(-1) for part in parts]
        return self.settings.steps * sum(active, mask.new_zeros(len(mask)))


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
