"""The meaning of a network's outputs: the value of a rating, or one class for each level."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from recbole_ext.meta.adapting.inner_loop import masked_mean, mean_error

MOST_LEVELS = 20


class ValueHead(nn.Module):
    """The only output is the rating."""

    outputs = 1

    def error(self, outputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Mean squared error of each task, shape: [tasks].

        Args:
            outputs: shape: [tasks, ratings, 1]
            targets: shape: [tasks, ratings]
            mask: shape: [tasks, ratings]
        """
        return mean_error(self(outputs), targets, mask)

    def forward(self, outputs: Tensor) -> Tensor:
        """Predicted ratings, shape: [tasks, ratings]."""
        return outputs.squeeze(-1)


class ClassHead(nn.Module):
    """Each rating level has an output; a softmax turns the outputs into probabilities.

    Args:
        levels: the rating levels in ascending order, shape: [levels]
    """

    levels: Tensor

    def __init__(self, levels: Tensor) -> None:
        super().__init__()
        self.register_buffer("levels", levels)
        self.outputs = len(levels)

    def error(self, outputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Mean cross-entropy of each task; a target between two levels counts as the nearest.

        Args:
            outputs: shape: [tasks, ratings, levels]
            targets: shape: [tasks, ratings]
            mask: shape: [tasks, ratings]

        Returns:
            shape: [tasks]
        """
        classes = (targets.unsqueeze(-1) - self.levels).abs().argmin(-1)
        errors = cross_entropy(outputs.transpose(1, 2), classes, reduction="none")
        return masked_mean(errors, mask)

    def forward(self, outputs: Tensor) -> Tensor:
        """Expected ratings, shape: [tasks, ratings]."""
        return outputs.softmax(-1) @ self.levels

    def most_likely(self, outputs: Tensor) -> Tensor:
        """The level of the largest output, shape: [tasks, ratings]."""
        return self.levels[outputs.argmax(-1)]


def rating_levels(ratings: Tensor) -> Tensor:
    """The distinct ratings, in ascending order.

    Raises:
        ValueError: if there are more than ``MOST_LEVELS`` of them.
    """
    levels = ratings.unique()
    if len(levels) > MOST_LEVELS:
        raise ValueError(
            f"head: classes needs a small set of rating levels (at most {MOST_LEVELS}); the "
            f"training ratings have {len(levels)} distinct values from {levels[0]:g} to "
            f"{levels[-1]:g}; set head: regression"
        )
    return levels
