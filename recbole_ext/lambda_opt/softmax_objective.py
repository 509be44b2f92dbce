"""The softmax over all items as the training loss, on batches of users with all their items."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.dataloader import TrainDataLoader
from torch import Tensor

from recbole_ext.lambda_opt.gradient.known_gradient import loss_with_gradients
from recbole_ext.lambda_opt.gradient.softmax import (
    Factors,
    SoftmaxRead,
    UserBatch,
    rows_of_batch,
    softmax_gradients,
)
from recbole_ext.lambda_opt.gradient.softmax_derivatives import SoftmaxGradients
from recbole_ext.lambda_opt.lambda_network import PowerLaw
from recbole_ext.lambda_opt.lambda_source import LambdaSource
from recbole_ext.lambda_opt.lambdaoptmf import LambdaOptMF
from recbole_ext.lambda_opt.user_batches import UserLoader, UserSampler


class SoftmaxObjective:
    """See :class:`~recbole_ext.lambda_opt.objective.Objective`.

    The penalty of a batch is ``Σ_{u∈batch} λ_u |θ_u|² / |batch| + Σ_i λ_i |θ_i|² / n_users``. With
    drawn items the second sum is over those of the batch's users, and has the same mean.

    Args:
        model: a LambdaOptMF with ``loss: softmax``.
        batch_size: users in a batch.
        hit: whether λ minimises the loss of a hit instead of the likelihood.
        device: the device of the model.
    """

    def __init__(
        self, model: LambdaOptMF, batch_size: int, hit: bool, device: torch.device
    ) -> None:
        assert model.item_bias is not None
        self.parameters = Factors(
            model.user_embedding.weight, model.item_embedding.weight, model.item_bias
        )
        self.batch_size, self.hit, self.device = batch_size, hit, device
        self._n_drawn = model.softmax_items
        self._n_users = model.n_users - 1  # without RecBole's padding user

    def loader(self, train_data: TrainDataLoader) -> UserLoader:
        """Batches of users."""
        given = self.batch_size, train_data.generator, self._n_drawn
        return UserLoader(train_data._dataset, *given)

    def sampler(self, source: LambdaSource) -> UserSampler:
        """Users with the items that λ learns from."""
        trained = source.train_data._dataset
        return UserSampler(source.dataset, trained, self.device, self._n_drawn)

    def batch(self, interaction: UserBatch) -> UserBatch:
        """The loader's batches as they are."""
        return interaction

    def size(self, batch: UserBatch) -> int:
        """The number of users."""
        return len(batch.users)

    def read(self, batch: UserBatch) -> SoftmaxRead:
        """The loss and its gradients."""
        factors = Factors(*(parameter.detach() for parameter in self.parameters))
        return softmax_gradients(*rows_of_batch(factors, batch))

    @torch.no_grad()
    def loss(
        self, interaction: Any, batch: UserBatch, read: SoftmaxRead, network: PowerLaw
    ) -> Tensor:
        """The loss and the penalty, with gradients in closed form."""
        if batch.candidates is not None:
            return self._loss_of_rows(batch, read, network)
        users, items = self.parameters.users, self.parameters.items
        size = len(batch.users)
        of_users = network.fixed("user", batch.users) / size
        of_items = network.whole("item") / self._n_users
        pulls = of_users * read.user_rows, of_items * items
        penalty = (pulls[0] * read.user_rows).sum() + (pulls[1] * items).sum()
        rows = torch.add(read.gradients.users, pulls[0], alpha=2)
        gradients = (
            torch.zeros_like(users).index_add_(0, batch.users, rows),
            torch.add(read.gradients.items, pulls[1], alpha=2),
            read.gradients.bias,
        )
        return loss_with_gradients(read.loss + penalty, self.parameters, gradients)

    def _loss_of_rows(self, batch: UserBatch, read: SoftmaxRead, network: PowerLaw) -> Tensor:
        """The loss of a batch with candidates, with gradients that hold the batch's rows only."""
        assert batch.candidates is not None
        ids, users = batch.candidates.items, read.user_rows
        items = self.parameters.items.index_select(0, ids)
        pull_users = network.fixed("user", batch.users) / len(batch.users) * users
        pull_items = network.fixed("item", ids) * batch.candidates.penalty * items
        penalty = (pull_users * users).sum() + (pull_items * items).sum()
        rows = (
            (batch.users, torch.add(read.gradients.users, pull_users, alpha=2)),
            (ids, torch.add(read.gradients.items, pull_items, alpha=2)),
            (ids, read.gradients.bias),
        )
        gradients = [
            torch.sparse_coo_tensor(of.unsqueeze(0), values, table.shape, check_invariants=False)
            for table, (of, values) in zip(self.parameters, rows, strict=True)
        ]
        return loss_with_gradients(read.loss + penalty, self.parameters, gradients)

    def gradients(self) -> SoftmaxGradients:
        """See the interface."""
        return SoftmaxGradients(self.parameters, self._n_users, self.hit)

    def sides(self) -> dict[str, str]:
        """See the interface."""
        return {"user": "users", "item": "items"}
