"""The common part of all decisions that adapt to a user by gradient steps."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from recbole_ext.meta.adapting.inner_loop import Weights
from recbole_ext.meta.adapting.inner_optimizers import Tensors
from recbole_ext.meta.decisions.content import ContentEmbedding
from recbole_ext.meta.decisions.item_profile import ItemProfile
from recbole_ext.meta.decisions.learnt_steps import InnerLoop
from recbole_ext.meta.decisions.rating_heads import ClassHead, ValueHead
from recbole_ext.meta.tasks.task_set import Ratings


class SteppingDecision(nn.Module):
    """A network on the embeddings of a user and an item, whose weights take steps for each task.

    A subclass creates the weights, sets ``inner`` to the inner loop, and defines :meth:`rate`.

    Args:
        user_content: embeddings of the users.
        items: embeddings of the items.
        head: turns the outputs into ratings.
    """

    inner: InnerLoop

    def __init__(
        self, user_content: ContentEmbedding, items: ItemProfile, head: ValueHead | ClassHead
    ) -> None:
        super().__init__()
        self.user_content, self.items, self.head = user_content, items, head

    @abstractmethod
    def rate(self, user: Tensor, items: Tensor, weights: Weights) -> Tensor:
        """The network's outputs, shape: [tasks, items, outputs].

        Args:
            user: embeddings of the users, shape: [tasks, 1, user_size]
            items: embeddings of the items, shape: [tasks, items, item_size]
            weights: the weights of each task.
        """

    def adapt(self, start: Tensors, users: Tensor, support: Ratings, targets: Tensor) -> Weights:
        """Each task's weights after the inner steps.

        Args:
            start: the weights before these steps.
            users: shape: [tasks]
            support: the support sets of the tasks.
            targets: the values to fit, one for each rating, shape: [tasks, ratings]
        """

        def error(user: Tensor, items: Tensor, weights: Weights, part: slice) -> Tensor:
            outputs = self.rate(user, items, weights)
            return self.head.error(outputs, targets[:, part], support.mask[:, part])

        user, items = self.user_content(users).unsqueeze(1), self.items(support.items)
        return self.inner.adapt(start, user, items, support.mask, error)

    def outputs(self, users: Tensor, items: Tensor, weights: Weights) -> Tensor:
        """The outputs that the head turns into ratings, shape: [tasks, items, outputs].

        Args:
            users: shape: [tasks]
            items: shape: [tasks, items]
            weights: the weights of the tasks, from :meth:`adapt`.
        """
        return self.rate(self.user_content(users).unsqueeze(1), self.items(items), weights)

    def forward(self, users: Tensor, items: Tensor, weights: Weights) -> Tensor:
        """Predicted targets, shape: [tasks, items]; the arguments are those of :meth:`outputs`."""
        return self.head(self.outputs(users, items, weights))
