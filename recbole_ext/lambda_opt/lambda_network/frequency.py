"""λ as a power law of the number of ratings of a user or an item."""

from __future__ import annotations

from torch import Tensor


def frequency_scale(counts: Tensor, exponent: float) -> Tensor:
    """The factor ``(count_r / mean count)^ν`` of the λ of each row ``r``.

    The penalty of a batch already counts a row once per occurrence. Over an epoch a user's penalty
    is therefore proportional to ``count^(1 + ν)``: with ν = 0 all users have the same λ, and with
    ν = −1 all have the same weight in total. Items also occur as sampled negatives.

    Args:
        counts: number of training ratings of each row, with RecBole's padding row 0,
            shape: [n_rows]
        exponent: ν.

    Returns:
        Factors, shape: [n_rows]; a row without ratings is treated as a row with one.

    Reference:
        Rendle et al. "Revisiting the Performance of iALS on Item Recommendation Benchmarks."
        RecSys 2022.
    """
    counts = counts.double().clamp(min=1)
    return (counts / counts[1:].mean()) ** exponent
