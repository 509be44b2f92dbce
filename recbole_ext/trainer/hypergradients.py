"""The hypergradient that the settings ask for, behind one call."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recbole_ext.bilevel_settings import BilevelSettings
from recbole_ext.data.triples import TripleSampler
from recbole_ext.functional.bpr import Triples
from recbole_ext.functional.hypergradient import Side, analytic_hypergradient
from recbole_ext.functional.penalty import expected_shares, triple_penalty
from recbole_ext.functional.unrolled import unrolled_hypergradient
from recbole_ext.lambda_network import LambdaNetwork
from recbole_ext.model.lambdaoptmf import LambdaOptMF


class HyperGradient:
    """Adds the gradient of a validation batch's loss with respect to λ to the λ tables.

    Args:
        settings: the method, the number of look-ahead steps and the look-ahead's penalty.
        model: gives the embeddings.
        network: holds λ.
        optimizer: the model's own; the look-ahead copies its step and leaves it as it is.
        train_sampler: draws the batches of the second and later look-ahead steps.
    """

    def __init__(
        self,
        settings: BilevelSettings,
        model: LambdaOptMF,
        network: LambdaNetwork,
        optimizer: Optimizer,
        train_sampler: TripleSampler,
    ) -> None:
        self.settings = settings
        self.network = network
        self.optimizer = optimizer
        self.train_sampler = train_sampler
        self.users, self.items = model.user_embedding.weight, model.item_embedding.weight
        self.tables = nn.ModuleDict({"user": model.user_embedding, "item": model.item_embedding})
        self.user_shares, self.item_shares = self._shares()

    def __call__(self, train: Triples, valid: Triples) -> Tensor:
        """Differentiate one validation batch.

        Args:
            train: the batch of the coming model step, which the look-ahead takes first.
            valid: the validation batch.

        Returns:
            The validation loss after the look-ahead, shape: []
        """
        if self.settings.meta_gradient == "analytic":
            user = Side(self.users, self.network.user, self.user_shares)
            item = Side(self.items, self.network.item, self.item_shares)
            return analytic_hypergradient(user, item, self.optimizer, train, valid)
        more = range(self.settings.lookahead_steps - 1)
        batches = [train, *(self.train_sampler.draw(len(train.users)) for _ in more)]
        parameters = list(self.network.parameters())
        return unrolled_hypergradient(
            self.tables, self.optimizer, batches, valid, self._penalty, parameters
        )

    def _shares(self) -> tuple[Tensor | None, Tensor | None]:
        """Each row's share in the look-ahead's penalty; ``None`` for its share in the batch."""
        users, items = self.users, self.items
        if self.settings.lookahead_penalty == "batch":
            return None, None
        if self.settings.lookahead_penalty == "table":
            return torch.ones_like(users[:, 0]), torch.ones_like(items[:, 0])
        data = self.train_sampler
        shares = expected_shares(data.users, data.items, len(users), data.negative_weight())
        return shares[0].to(users), shares[1].to(items)

    def _penalty(self, users: Tensor, items: Tensor, batch: Triples) -> Tensor:
        """The look-ahead's penalty on whole tables, for ``higher``."""
        if self.user_shares is None or self.item_shares is None:
            rows = users[batch.users], items[batch.positives], items[batch.negatives]
            return triple_penalty(rows, batch, self.network.user, self.network.item)
        every_user = torch.arange(len(users), device=users.device)
        every_item = torch.arange(len(items), device=items.device)
        of_users = self.user_shares.unsqueeze(-1) * self.network.user(every_user)
        of_items = self.item_shares.unsqueeze(-1) * self.network.item(every_item)
        return (of_users * users.square()).sum() + (of_items * items.square()).sum()
