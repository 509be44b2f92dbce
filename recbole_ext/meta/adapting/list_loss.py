"""The loss of a list: a softmax over all items that a task does not give."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def list_loss(scores: Tensor, given: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Minus the sum of the wanted items' log-probabilities, shape: [tasks].

    Args:
        scores: the scores of all items, of which item 0 is padding, shape: [tasks, n_items]
        given: the items of the support sets, padded with 0; they take no part in the softmax,
            shape: [tasks, ratings]
        wanted: the items of the queries, padded with 0, shape: [tasks, queries]
        mask: 1 for a wanted item, 0 for padding, shape: [tasks, queries]

    Reference:
        Liang et al. "Variational autoencoders for collaborative filtering." WWW 2018, equation 2.
    """
    apart = barred(scores, given)
    return _cross_entropy(scores.gather(1, wanted), apart.logsumexp(-1, keepdim=True), mask)


def drawn_list_loss(
    scores: Tensor, drawn: Tensor, own: Tensor, given: Tensor, mask: Tensor, n_items: int
) -> Tensor:
    """An estimate of :func:`list_loss` from some items that were drawn evenly, shape: [tasks].

    The drawn items stand for all that a task neither gives nor wants.

    Args:
        scores: the scores of the drawn items and of the wanted items, side by side,
            shape: [tasks, drawn + queries]
        drawn: the drawn items, without padding and without repetition, shape: [drawn]
        own: the wanted items, padded with 0, shape: [tasks, queries]
        given: the given items, padded with 0, shape: [tasks, ratings]
        mask: 1 for a wanted item, 0 for padding, shape: [tasks, queries]
        n_items: the number of all items, padding included.
    """
    others, wanted = scores.split([len(drawn), own.shape[1]], dim=1)
    theirs = torch.cat([own, given], dim=1)
    taken = torch.isin(
        drawn.expand(len(own), -1) + n_items * _rows(own), theirs + n_items * _rows(own)
    )
    left = (~taken).sum(-1, keepdim=True)
    rest = n_items - 1 - (theirs > 0).sum(-1, keepdim=True)
    stands_for = (rest / left.clamp(min=1)).log()
    others = (others + stands_for).masked_fill(taken, -math.inf)
    together = torch.cat([others, wanted.masked_fill(mask == 0, -math.inf)], dim=1)
    return _cross_entropy(wanted, together.logsumexp(-1, keepdim=True), mask)


def barred(scores: Tensor, given: Tensor) -> Tensor:
    """Scores with minus infinity for padding and for the given items, shape: [tasks, n_items]."""
    apart = scores.scatter(1, given, -math.inf)
    apart[:, 0] = -math.inf
    return apart


def _rows(items: Tensor) -> Tensor:
    return torch.arange(len(items), device=items.device).unsqueeze(-1)


def _cross_entropy(wanted: Tensor, total: Tensor, mask: Tensor) -> Tensor:
    return ((total - wanted) * mask).sum(-1)
