"""nDCG over graded ratings, in two gains that papers do not always tell apart."""

from __future__ import annotations

import torch
from torch import Tensor

GAINS = ("linear", "exponential")


def graded_ndcg(
    scores: Tensor,
    ratings: Tensor,
    mask: Tensor,
    cutoff: int,
    gain: str = "linear",
    worthless: float = 0.0,
) -> Tensor:
    """The NDCG of each task's query, as a mean over all orders of tied scores.

    Args:
        scores: shape: [tasks, ratings]
        ratings: shape: [tasks, ratings]
        mask: 1 for a rating, 0 for padding, shape: [tasks, ratings]
        cutoff: length of the list.
        gain: the gain of a rating: ``linear``, the rating itself (as MeLU's published figures), or
            ``exponential``, ``2^rating − 1``.
        worthless: the rating with gain 0, which is subtracted from all ratings; lower ratings have
            gain 0, too. It is below 0 only if ratings are.

    Returns:
        NaN for a task without gain, shape: [tasks]

    Reference:
        Järvelin, Kekäläinen. TOIS 2002. Ties: McSherry, Najork. ECIR 2008.
    """
    gains = (ratings - worthless).clamp(min=0) * mask
    if gain == "exponential":  # over the task's largest, as 2^200 is no number
        largest = gains.amax(-1, keepdim=True)
        gains = (2 ** (gains - largest) - 2**-largest) * mask
    found = (gains * _expected_discount(scores, mask, cutoff)).sum(-1)
    best = (gains * _expected_discount(gains, mask, cutoff)).sum(-1)
    return found / best


def _expected_discount(scores: Tensor, mask: Tensor, cutoff: int) -> Tensor:
    """The mean discount of the places that a rating's ties share, shape: [tasks, ratings]."""
    others = mask.bool().unsqueeze(1)
    above = ((scores.unsqueeze(1) > scores.unsqueeze(2)) & others).sum(-1)
    equal = ((scores.unsqueeze(1) == scores.unsqueeze(2)) & others).sum(-1).clamp(min=1)
    places = torch.arange(scores.shape[-1], device=scores.device)
    discounts = (places < cutoff) / torch.log2(places.to(scores.dtype) + 2)
    up_to = torch.cat([discounts.new_zeros(1), discounts.cumsum(0)])
    until = (above + equal).clamp(max=scores.shape[-1])
    return (up_to[until] - up_to[above]) / equal * mask
