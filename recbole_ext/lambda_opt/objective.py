"""The interface of a training loss, as the trainer of λ uses it."""

from __future__ import annotations

from typing import Any, Protocol

from recbole.data.dataloader import TrainDataLoader
from torch import Tensor

from recbole_ext.lambda_opt.gradient.derivatives import Gradients
from recbole_ext.lambda_opt.lambda_source import LambdaSource


class Objective(Protocol):
    """A training loss with its batches: BPR on triples, or a softmax on users with their items."""

    def loader(self, train_data: TrainDataLoader) -> Any:
        """The loader of this loss's batches, from RecBole's loader of the same ratings."""

    def sampler(self, source: LambdaSource) -> Any:
        """What draws the batches that λ learns from: an object with ``draw(batch_size)``."""

    def batch(self, interaction: Any) -> Any:
        """The batch in what the loader gives."""

    def size(self, batch: Any) -> int:
        """The number of cases in a batch."""

    def read(self, batch: Any) -> Any:
        """What the model step and the λ step both need of a batch, or ``None``."""

    def loss(self, interaction: Any, batch: Any, read: Any, network: Any) -> Tensor:
        """The loss of a batch plus ``Ω(Θ|λ)`` with λ held fixed, shape: []."""

    def gradients(self) -> Gradients:
        """The derivatives that the gradient of λ through the training needs."""

    def sides(self) -> dict[str, str]:
        """The names of the user and the item embeddings among the parameters of the gradients."""
