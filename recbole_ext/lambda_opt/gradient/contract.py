"""The interface of every method that computes the gradient of λ."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor


class Gradient(Protocol):
    """The gradient of a validation loss with respect to λ.

    In each batch with a λ step the trainer calls :meth:`begin`, :meth:`add` and :meth:`end`, in
    this order. During the warm-up of λ it leaves out :meth:`add`.
    """

    def reading(self) -> AbstractContextManager[None]:
        """The block in which the batch of a λ step is read.

        Several processes divide a batch that is read outside of it.
        """

    def begin(self, batch: Any, read: Any) -> None:
        """Take note of the batch of the coming model step.

        Args:
            batch: the batch that the model is about to train on: triples, or users with their
                items.
            read: a matrix factorisation's rows and gradients for the batch; ``None`` for other
                models.
        """

    def add(self, valid: Any) -> Tensor:
        """Add the gradient of a validation batch to the ``grad`` of λ's weights.

        Args:
            valid: ratings that the model does not train on.

        Returns:
            The validation loss, shape: []
        """

    def end(self) -> None:
        """Update the state that the method keeps, if any, for the coming model step."""
