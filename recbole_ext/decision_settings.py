"""The hyper-parameters of a decision that adapts, read and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass

from recbole_ext.hyperparameters import (
    Settings,
    all_or_integer,
    choice,
    flag,
    integer,
    integers,
    real,
)
from recbole_ext.layers.inner_loop import INNER_OPTIMIZERS, InnerLoopSettings

INNER_SOLVERS = ("ridge", "gradient")
OUTER_LOSSES = ("absolute", "squared")


@dataclass(frozen=True)
class DecisionSettings:
    """``properties/model/MeLU.yaml`` explains each field."""

    embedding_size: int
    mlp_hidden_size: list[int]
    inner_solver: str
    factor_size: int
    ridge_strength: float
    factorized_start: int
    rated_items: bool
    inner: InnerLoopSettings
    item_embedding: bool
    zero_unseen_values: bool
    residual: bool
    user_shrinkage: float
    outer_loss: str

    @classmethod
    def read(cls, config: Settings) -> DecisionSettings:
        """Take the settings from RecBole's ``Config``.

        Raises:
            ValueError: naming the key and its value, if one is out of range or two do not go
            together.
        """
        settings = cls(
            embedding_size=integer(config, "embedding_size", minimum=1),
            mlp_hidden_size=integers(config, "mlp_hidden_size", minimum=1),
            inner_solver=choice(config, "inner_solver", INNER_SOLVERS),
            factor_size=integer(config, "factor_size", minimum=1),
            ridge_strength=real(config, "ridge_strength", above=0),
            factorized_start=integer(config, "factorized_start", minimum=0),
            rated_items=flag(config, "rated_items"),
            inner=_inner_loop(config),
            item_embedding=flag(config, "item_embedding"),
            zero_unseen_values=flag(config, "zero_unseen_values"),
            residual=flag(config, "residual"),
            user_shrinkage=real(config, "user_shrinkage", minimum=0),
            outer_loss=choice(config, "outer_loss", OUTER_LOSSES),
        )
        used = settings.inner_solver == "ridge" and settings.item_embedding
        if used and settings.factorized_start > settings.factor_size:
            raise ValueError(
                f"factorized_start must be at most factor_size ({settings.factor_size}), got "
                f"{settings.factorized_start}"
            )
        return settings


def _inner_loop(config: Settings) -> InnerLoopSettings:
    return InnerLoopSettings(
        steps=integer(config, "inner_steps", minimum=1),
        batch_size=all_or_integer(config, "inner_batch_size", minimum=1),
        optimizer=choice(config, "inner_optimizer", INNER_OPTIMIZERS),
        learning_rate=real(config, "inner_learning_rate", above=0),
        learn_rates=flag(config, "learn_inner_rates"),
        first_order=flag(config, "first_order"),
    )
