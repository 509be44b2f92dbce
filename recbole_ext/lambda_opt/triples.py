"""Random BPR triples from a part of the ratings, with RecBole's own negative sampler."""

from __future__ import annotations

import numpy as np
import torch
from recbole.data.dataset import Dataset
from recbole.sampler import Sampler
from torch import Tensor

from recbole_ext.lambda_opt.gradient.bpr import Triples
from recbole_ext.seams.fast_loader import used_pairs


class TripleSampler:
    """Draws ratings uniformly, with replacement, and a negative item for each.

    All random numbers come from the global generators of torch and numpy, so that a resumed run,
    which restores them, draws the same triples.

    Args:
        dataset: the interactions to draw from.
        sampler: draws items that a user did not interact with.
        device: the device of the triples.
    """

    def __init__(self, dataset: Dataset, sampler: Sampler, device: torch.device) -> None:
        self.users = dataset.inter_feat[dataset.uid_field]  # [n_interactions]
        self.items = dataset.inter_feat[dataset.iid_field]  # [n_interactions]
        self.sampler = sampler
        self.device = device

    def negative_weight(self) -> Tensor:
        """The unnormalised probability of each item as a negative, shape: [n_items]."""
        weight = torch.ones(self.sampler.item_num).double()
        if self.sampler.distribution == "popularity":
            items = torch.as_tensor(np.asarray(self.sampler._get_candidates_list()))
            counts = torch.bincount(items, minlength=self.sampler.item_num)
            weight = counts.double() ** self.sampler.alpha
        weight[0] = 0.0  # the padding item
        return weight

    def owned(self) -> Tensor:
        """Distinct pairs of a user and an item that is never its negative, shape: [2, pairs]."""
        return torch.from_numpy(np.stack(used_pairs(self.sampler)))

    def draw(self, batch_size: int) -> Triples:
        """Draw ``batch_size`` triples."""
        chosen = torch.randint(len(self.users), (batch_size,))
        users, items = self.users[chosen], self.items[chosen]
        negatives = self.sampler.sample_by_user_ids(users.numpy(), items.numpy(), 1)
        return Triples(users.to(self.device), items.to(self.device), negatives.to(self.device))
