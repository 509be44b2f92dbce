"""λ as a power of how often a row is rated: the closed-form rival of a λ learnt for each row."""

from __future__ import annotations

from torch import Tensor

from recbole_ext.lambda_network.network import GRANULARITIES


def frequency_strength(counts: Tensor, weight: float, exponent: float) -> Tensor:
    """``λ_r = weight · (count_r / mean count)^ν``.

    The penalty of a batch counts a row once per occurrence already, so that over an epoch a user
    carries ``count^(1 + ν)``: ν = 0 is one λ for all, ν = −1 the same total for every user. Items
    occur as sampled negatives besides.

    Args:
        counts: training ratings of each row, with RecBole's padding row 0, shape: [n_rows]
        weight: λ of a row with the mean count.
        exponent: ν.

    Returns:
        Strengths, shape: [n_rows]; a row without ratings counts as having one.

    Reference:
        Rendle et al. "Revisiting the Performance of iALS on Item Recommendation Benchmarks."
        RecSys 2022.
    """
    counts = counts.double().clamp(min=1)
    return weight * (counts / counts[1:].mean()) ** exponent


def by_row(granularity: str) -> str:
    """The granularity with one λ a row on the sides that another one regularises."""
    axes = GRANULARITIES[granularity]
    sides = [name for name, side in (("user", axes.user), ("item", axes.item)) if side is not None]
    return "+".join(sides)
