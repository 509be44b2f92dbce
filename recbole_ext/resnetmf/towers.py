"""Towers: the networks over the embedding of a user or an item."""

from __future__ import annotations

from torch import Tensor, nn

NETS = ("linear", "mlp", "resnet")


class MLPTower(nn.Module):
    """ReLU on the embedding, then one dense layer.

    Args:
        size: the embedding size.
        hidden: the number of outputs.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(size, hidden)

    def forward(self, embedding: Tensor) -> Tensor:
        """Outputs of shape [rows, hidden] for embeddings of shape [rows, size]."""
        return self.dense(embedding.relu())


class ResidualBlock(nn.Module):
    """``x + dense(dropout(relu(dense(x))))``.

    Args:
        size: the number of inputs and of outputs.
        hidden: the number of hidden units.
        dropout: share of the hidden units that are dropped in training.

    Reference:
        He et al. "Deep Residual Learning for Image Recognition." CVPR 2016.
    """

    def __init__(self, size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(size, hidden)
        self.second = nn.Linear(hidden, size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs of shape [rows, size] for inputs of the same shape."""
        return inputs + self.second(self.dropout(self.first(inputs).relu()))


def tower(net: str, size: int, hidden: int, dropout: float) -> nn.Module:
    """Build a tower of one of three kinds.

    Args:
        net: ``linear``, the embedding itself; ``mlp``; or ``resnet``, two residual blocks with
            dropout between them.
        size: the embedding size.
        hidden: the number of outputs of ``mlp``, or of hidden units of ``resnet``.
        dropout: the dropout of ``resnet``, within the blocks and between them.
    """
    if net == "linear":
        return nn.Identity()
    if net == "mlp":
        return MLPTower(size, hidden)
    blocks = [ResidualBlock(size, hidden, dropout) for _ in range(2)]
    return nn.Sequential(blocks[0], nn.Dropout(dropout), blocks[1])
