"""λ of a row as a power law of its number of ratings: two numbers for each side."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from recbole_ext.lambda_opt.lambda_network.frequency import frequency_scale

SIDES = ("user", "item")
MOST_LOG_STRENGTH, MOST_EXPONENT = 20.0, 6.0  # beyond these λ has run away


class PowerLaw(nn.Module):
    """``λ_r = exp(a + ν · ln(n_r / n̄))`` with a log strength ``a`` and an exponent ``ν`` a side.

    ``n_r`` is the number of training ratings of a row and ``n̄`` the mean over the side's rows. The
    four numbers can be learnt from far fewer ratings than a table of λ needs. With ``ν = 0`` all
    rows of a side have the same λ; a fixed ``ν`` is the frequency-scaled λ of the literature.

    Args:
        n_users: number of user rows.
        n_items: number of item rows.
        strengths: λ of a user and of an item of mean frequency, ``>= 0``.
        exponents: ``ν`` of the users and of the items.

    Reference:
        Rendle et al. "Revisiting the Performance of iALS on Item Recommendation Benchmarks."
        RecSys 2022 (the scaled λ).
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        strengths: tuple[float, float],
        exponents: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        super().__init__()
        self.row_owners: dict[str, Any] = {}  # of the buffers, for checkpoints
        self.weights = nn.ParameterDict()
        given = zip(SIDES, (n_users, n_items), strengths, exponents, strict=True)
        for side, n_rows, strength, exponent in given:
            log_strength = math.log(strength) if strength > 0 else -math.inf
            self.weights[f"{side}-strength"] = nn.Parameter(torch.full((1, 1), log_strength))
            self.weights[f"{side}-exponent"] = nn.Parameter(torch.full((1, 1), exponent))
            self.register_buffer(f"{side}_frequency", torch.zeros(n_rows, 1))

    @torch.no_grad()
    def tell_counts(self, side: str, counts: Tensor, own: slice = slice(None)) -> None:
        """Set the number of training ratings of a side's rows.

        Args:
            side: ``"user"`` or ``"item"``.
            counts: of all rows, shape: [n_rows]
            own: those of the rows that this object knows the λ of.
        """
        frequency = frequency_scale(counts, 1.0).log().unsqueeze(-1)
        getattr(self, f"{side}_frequency").copy_(frequency[own])

    @torch.no_grad()
    def begin(self, strength: float) -> None:
        """Set λ of a row of mean frequency, on both sides."""
        for side in SIDES:
            self.weights[f"{side}-strength"].fill_(math.log(strength))

    def user(self, ids: Tensor | slice) -> Tensor:
        """λ of some users; differentiable, shape: [rows, 1]."""
        return self._lookup("user", ids)

    def item(self, ids: Tensor | slice) -> Tensor:
        """λ of some items; differentiable, shape: [rows, 1]."""
        return self._lookup("item", ids)

    @torch.no_grad()
    def fixed(self, side: str, ids: Tensor | slice) -> Tensor:
        """λ of some rows of a side, held fixed, shape: [rows, 1]."""
        return self._lookup(side, ids)

    @torch.no_grad()
    def whole(self, side: str) -> Tensor:
        """λ of all rows of a side, shape: [n_rows, 1]."""
        return self._lookup(side, slice(None))

    def regularises(self, side: str) -> bool:
        """Whether a side has a λ; here both have."""
        return side in SIDES

    @torch.no_grad()
    def slope(self, weight: str, side: str, ids: Tensor | slice = slice(None)) -> Tensor | None:
        """``∂λ/∂weight`` of some rows of a side, shape: [rows, 1]; ``None`` for the other side."""
        of_side, kind = weight.split("-")
        if of_side != side:
            return None
        strengths = self.fixed(side, ids)
        if kind == "strength":
            return strengths
        return strengths * getattr(self, f"{side}_frequency")[ids]

    def clamp(self) -> None:
        """Check the four numbers after a step; the exponential keeps λ above 0.

        Raises:
            ValueError: if λ has run away.
        """
        values = torch.cat(list(self.weights.values())).flatten().tolist()  # a GPU waits once
        for name, value in zip(self.weights, values, strict=True):
            most = MOST_LOG_STRENGTH if name.endswith("strength") else MOST_EXPONENT
            if not abs(value) <= most:
                raise ValueError(
                    f"λ runs away: the {name.replace('-', ' log ' if most > 10 else ' ')} is "
                    f"{value:.3g}; lower lambda_learning_rate or learning_rate, or set "
                    "regularizer: frequency with a reg_weight of your own"
                )

    def summary(self) -> dict[str, str]:
        """The λ of a row of mean frequency and the exponent of each side, as text."""
        found = {}
        for side in SIDES:
            strength = self.weights[f"{side}-strength"].exp().item()
            found[f"{side} λ"] = f"{strength:.3g}·f^{self.weights[f'{side}-exponent'].item():.2f}"
        return found

    def _lookup(self, side: str, ids: Tensor | slice) -> Tensor:
        frequency = getattr(self, f"{side}_frequency")[ids]
        weights = self.weights
        return (weights[f"{side}-strength"] + weights[f"{side}-exponent"] * frequency).exp()
