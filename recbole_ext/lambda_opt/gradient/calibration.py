"""An outer loss that does not depend on the scale of the scores.

A penalty shrinks all scores. A list does not change by that, but a likelihood does, so that a plain
validation likelihood prefers a λ near 0 even where the list gets worse. The calibrated loss is the
likelihood at its best temperature, ``min_τ L(τ · scores)``. At the minimum the derivative by ``τ``
is 0, so that ``τ`` counts as a constant in the gradient of λ (envelope theorem).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

LAMBDA_LOSSES = ("hit", "calibrated", "plain")
LEAST, MOST = 0.01, 100.0

# The first and the second derivative of a loss by the temperature, at a given temperature
Derivatives = Callable[[Tensor], tuple[Tensor, Tensor]]


class Temperature(nn.Module):
    """``τ``, which follows its minimum from one λ batch to the next by Newton's method.

    The class is a module so that checkpoints hold ``τ``.
    """

    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.ones((), dtype=torch.double))

    @torch.no_grad()
    def follow(self, derivatives: Derivatives, steps: int = 1) -> Tensor:
        """Take Newton steps towards the minimum for a batch; a step changes ``τ`` at most by half.

        Args:
            derivatives: the derivatives of the batch's loss by ``τ``.
            steps: number of steps.

        Returns:
            The new ``τ``, shape: []

        Raises:
            ValueError: if ``τ`` is no number, because the scores are not finite.
        """
        for _ in range(steps):
            before = self.value
            first, second = derivatives(before)
            change = -first.double() / second.double().clamp(min=1e-12)
            moved = before + change.clamp(-before / 3, before / 2)
            self.value = moved.clamp(LEAST, MOST)
        if torch.isnan(self.value):
            raise ValueError(
                "the temperature of the λ loss is NaN, as the scores are not finite: lower "
                "learning_rate or lambda_learning_rate"
            )
        return self.value

    @property
    def at_bound(self) -> bool:
        """Whether ``τ`` has run away as far as it may: the scores predict nothing, or all."""
        return not LEAST < self.value.item() < MOST


@torch.no_grad()
def bpr_derivatives(margins: Tensor, size: int | None = None) -> Derivatives:
    """The derivatives of ``mean −ln σ(τ · margin)`` by ``τ``.

    Args:
        margins: differences of scores of a positive and a negative item, any shape.
        size: the number of margins of the whole batch, if these are only some of them.
    """
    of_batch = size or margins.numel()

    def derivatives(temperature: Tensor) -> tuple[Tensor, Tensor]:
        below = torch.sigmoid(-temperature * margins)
        first, second = -(margins * below), margins.square() * below * (1 - below)
        return first.sum() / of_batch, second.sum() / of_batch

    return derivatives
