"""A few items in place of all items in a softmax, drawn so that the sum over all is not biased.

The sum over all items ``Σ_j e^{s_j}`` is that over the user's own items, which are all kept, plus
``Σ_c e^{s_c} / (S q_c)`` over ``S`` items drawn with probability ``q``, without those of the user's
own (log-Q correction). Its mean is the sum over all items. All users of a batch share the items.

Reference:
    Bengio and Senécal. "Adaptive Importance Sampling to Accelerate Training of a Neural
    Probabilistic Language Model." IEEE Transactions on Neural Networks, 2008.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Candidates(NamedTuple):
    """The items of a batch: its users' own items and those drawn.

    Attributes:
        items: distinct internal item ids, ascending, shape: [candidates]
        penalty: the factor of ``λ_i |θ_i|²`` in the batch. Its mean over the batches is that of the
            whole penalty, ``1 / n_users``. An item without training ratings has none. Shape:
            [candidates, 1]
        drawn: the positions among ``items`` of those drawn, ascending, shape: [columns]
        log_weight: ``ln (times drawn / (S q))`` of each of these, shape: [columns]
        by_item: the order that sorts the users' own items by position, shape: [pairs]
    """

    items: Tensor
    penalty: Tensor
    drawn: Tensor
    log_weight: Tensor
    by_item: Tensor

    def to(self, device: torch.device) -> Candidates:
        """The candidates on a device."""
        return Candidates(*(part.to(device) for part in self))

    def columns(self, places: Tensor) -> Tensor:
        """The column of each position among ``items``; −1 for an item that was not drawn."""
        column = torch.full_like(self.items, -1)
        column[self.drawn] = torch.arange(len(self.drawn), device=column.device)
        return column[places]


class CandidateSampler:
    """Draws items in proportion to their training ratings plus one.

    Args:
        counts: training ratings of each item, shape: [n_items]; item 0 is RecBole's padding.
        n_drawn: ``S``, the items drawn for a batch, with replacement.
    """

    def __init__(self, counts: Tensor, n_drawn: int) -> None:
        self.counts, self.n_drawn = counts, n_drawn
        chance = counts.double() + 1
        chance[0] = 0
        self.chance = chance / chance.sum()
        self._below = self.chance.cumsum(0)

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw items with replacement, shape: [n_drawn]."""
        points = torch.rand(self.n_drawn, dtype=torch.double, generator=generator)
        found = torch.searchsorted(self._below, points * self._below[-1], right=True)
        return found.clamp_(max=len(self.counts) - 1)

    def candidates(
        self, own: Tensor, times: Tensor, drawn: Tensor, n_users: int
    ) -> tuple[Candidates, Tensor]:
        """Put a batch's own and drawn items together.

        Args:
            own: the item of each pair of a user and an own item, shape: [pairs]
            times: how many interactions each pair has, shape: [pairs]
            drawn: what was drawn for the batch, shape: [n_drawn]
            n_users: number of users in the batch.

        Returns:
            The candidates, and the position of each own item among them, shape: [pairs]
        """
        items, places = torch.cat([own, drawn]).unique(return_inverse=True)
        of_own, of_drawn = places.split([len(own), len(drawn)])
        times_own = of_own.bincount(times, minlength=len(items))
        times_drawn = of_drawn.bincount(minlength=len(items))
        columns = times_drawn.nonzero().squeeze(1)
        chance = self.n_drawn * self.chance[items[columns]]
        log_weight = (times_drawn[columns] / chance).log().float()
        penalty = (times_own / (self.counts[items].clamp(min=1) * n_users)).float().unsqueeze(1)
        order = of_own.argsort(stable=True)
        return Candidates(items, penalty, columns, log_weight, order), of_own
