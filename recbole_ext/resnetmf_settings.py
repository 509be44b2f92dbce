"""The hyper-parameters of ResNetMF, read and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass

from recbole_ext.hyperparameters import Settings, choice, flag, integer, real
from recbole_ext.layers.towers import NETS


@dataclass(frozen=True)
class ResNetMFSettings:
    """``properties/model/ResNetMF.yaml`` explains each field."""

    net: str
    embedding_size: int
    hidden_size: int
    dropout_prob: float
    biases: bool
    clip_predictions: bool

    @classmethod
    def read(cls, config: Settings) -> ResNetMFSettings:
        """Take the settings from RecBole's ``Config``.

        Raises:
            ValueError: naming the key and its value, if one is out of range.
        """
        dropout = real(config, "dropout_prob", minimum=0)
        if dropout >= 1:
            raise ValueError(f"dropout_prob must be at least 0 and below 1, got {dropout:g}")
        return cls(
            net=choice(config, "net", NETS),
            embedding_size=integer(config, "embedding_size", minimum=1),
            hidden_size=integer(config, "hidden_size", minimum=1),
            dropout_prob=dropout,
            biases=flag(config, "biases"),
            clip_predictions=flag(config, "clip_predictions"),
        )
