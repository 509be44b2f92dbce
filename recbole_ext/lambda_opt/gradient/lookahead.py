"""The gradient of λ through a look-ahead, by the method that the settings name."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from torch import Tensor
from torch.optim import Optimizer

from recbole_ext.lambda_opt.gradient.bpr import RowGradients, Triples, shared_row_gradients
from recbole_ext.lambda_opt.gradient.one_step import (
    Side,
    analytic_hypergradient,
    dense_hypergradient,
)
from recbole_ext.lambda_opt.gradient.owners import owners_of
from recbole_ext.lambda_opt.gradient.penalty import batch_shares, expected_shares
from recbole_ext.lambda_opt.gradient.unrolled import unrolled_hypergradient
from recbole_ext.lambda_opt.lambda_network import LambdaNetwork
from recbole_ext.lambda_opt.pairwise import PairwiseModel, is_factorisation
from recbole_ext.lambda_opt.settings import BilevelSettings
from recbole_ext.lambda_opt.triples import TripleSampler
from recbole_ext.processes.shares import share_of


class LookaheadGradient:
    """The gradient of the validation loss with respect to λ, after one or more look-ahead steps.

    Args:
        settings: the run's settings: method, number of look-ahead steps and penalty.
        model: the model that holds the embeddings.
        network: the network that holds λ; its tables receive the gradient.
        optimizer: the model's optimiser; the look-ahead imitates its step without changing it.
        train_sampler: draws the batches of the second and later look-ahead steps.
    """

    def __init__(
        self,
        settings: BilevelSettings,
        model: GeneralRecommender,
        network: LambdaNetwork,
        optimizer: Optimizer,
        train_sampler: TripleSampler,
    ) -> None:
        self.settings = settings
        self.network = network
        self.optimizer = optimizer
        self.train_sampler = train_sampler
        self.model = PairwiseModel(model)
        self.factorisation = is_factorisation(model)
        self.parameters: dict[str, Tensor] = dict(self.model.named_parameters())
        tables = model.user_embedding.weight, model.item_embedding.weight
        self.names = [self.model.name_of(table) for table in tables]
        self.owners = owners_of(model)
        user_shares, item_shares = self._shares(*tables)
        self.user = Side("user", tables[0], network, user_shares, self.owners.user)
        self.item = Side("item", tables[1], network, item_shares, self.owners.item)
        self._coming: tuple[Triples, RowGradients | None] | None = None

    def reading(self) -> AbstractContextManager[None]:
        """See :class:`~recbole_ext.lambda_opt.gradient.contract.Gradient`."""
        return nullcontext()

    def begin(self, batch: Triples, read: RowGradients | None = None) -> None:
        """Take note of the coming batch, which the first look-ahead step trains on."""
        self._coming = batch, read

    def add(self, valid: Triples) -> Tensor:
        """Add the gradient of a validation batch.

        Returns:
            The validation loss after the look-ahead, shape: []
        """
        assert self._coming is not None
        train, read = self._coming
        if self.settings.meta_gradient == "higher":
            return self._unrolled(train, valid)
        sides = self.user, self.item
        if self.factorisation:
            tables = self.user.table, self.item.table
            read = read or shared_row_gradients(*tables, train, self.owners)
            return analytic_hypergradient(*sides, self.optimizer, read, valid)
        losses = self.model.fit_loss, self.model.ranking_loss
        return dense_hypergradient(*sides, self.optimizer, self.parameters, losses, train, valid)

    def end(self) -> None:
        """Forget the batch; a look-ahead keeps no state from batch to batch."""
        self._coming = None

    def _unrolled(self, train: Triples, valid: Triples) -> Tensor:
        more = range(self.settings.lookahead_steps - 1)
        batches = [train, *(self.train_sampler.draw(len(train.users)) for _ in more)]

        def fit_loss(parameters: dict[str, Tensor], batch: Triples) -> Tensor:
            share = share_of(len(batch.users))
            loss = self.model.fit_loss(parameters, batch.part(share))
            return (loss + self._penalty(parameters, batch)) * share.weight

        def valid_loss(parameters: dict[str, Tensor], batch: Triples) -> Tensor:
            share = share_of(len(batch.users))
            return self.model.ranking_loss(parameters, batch.part(share)) * share.weight

        return unrolled_hypergradient(
            self.model,
            self.optimizer,
            batches,
            valid,
            fit_loss,
            valid_loss,
            list(self.network.parameters()),
        )

    def _shares(self, users: Tensor, items: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Each own row's share in the look-ahead's penalty; ``None``: that in the batch."""
        if self.settings.lookahead_penalty == "batch":
            return None, None
        if self.settings.lookahead_penalty == "table":
            return torch.ones_like(users[:, 0]), torch.ones_like(items[:, 0])
        data, (user, item) = self.train_sampler, self.owners
        shares = expected_shares(
            data.users, data.items, user.n_rows, data.negative_weight(), data.owned()
        )
        return shares[0][user.own].to(users), shares[1][item.own].to(items)

    def _penalty(self, parameters: dict[str, Tensor], batch: Triples) -> Tensor:
        """The look-ahead's penalty on whole tables, which ``higher`` needs."""
        total = torch.zeros((), device=batch.users.device)
        for side, read, name in zip(
            (self.user, self.item), (batch.users, batch.items), self.names, strict=True
        ):
            rows, shares = parameters[name], side.shares
            if shares is None:
                shares = batch_shares(read, len(rows), len(batch.users)).to(rows)
            strength = getattr(self.network, side.name)(slice(None))
            total = total + (shares.unsqueeze(-1) * strength * rows.square()).sum()
        return total
