"""How λ follows the number of ratings of a user or an item: a power law."""

from __future__ import annotations

from torch import Tensor


def frequency_scale(counts: Tensor, exponent: float) -> Tensor:
    """``(count_r / mean count)^ν``, the factor of a row's λ.

    The penalty of a batch counts a row once per occurrence already, so that over an epoch a user
    carries ``count^(1 + ν)``: ν = 0 is one λ for all, ν = −1 the same total for every user. Items
    occur as sampled negatives besides.

    Args:
        counts: training ratings of each row, with RecBole's padding row 0, shape: [n_rows]
        exponent: ν.

    Returns:
        Factors, shape: [n_rows]; a row without ratings counts as having one.

    Reference:
        Rendle et al. "Revisiting the Performance of iALS on Item Recommendation Benchmarks."
        RecSys 2022.
    """
    counts = counts.double().clamp(min=1)
    return (counts / counts[1:].mean()) ** exponent
