"""The hyper-parameters of bilevel training, read and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass

from recbole.model.general_recommender import BPR
from recbole.utils import InputType, ModelType

from recbole_ext.functional.lookahead import OPTIMIZERS
from recbole_ext.functional.penalty import LOOKAHEAD_PENALTIES
from recbole_ext.hyperparameters import Settings, choice, flag, integer, real
from recbole_ext.lambda_network import FEW, GRANULARITIES

REGULARIZERS = ("lambda_opt", "fixed", "frequency")
META_GRADIENTS = ("forward", "analytic", "higher")
LAMBDA_SOURCES = ("split", "holdout", "valid")


@dataclass(frozen=True)
class BilevelSettings:
    """How λ is learnt; ``properties/model/LambdaOptMF.yaml`` explains each field."""

    regularizer: str
    reg_weight: float
    frequency_exponent: float
    lambda_granularity: str
    lambda_initial: float
    lambda_source: str
    lambda_split_ratio: float
    lambda_holdout_ratio: float
    meta_gradient: str
    lookahead_steps: int
    lookahead_penalty: str
    lambda_warmup_steps: int
    lambda_update_interval: int
    lambda_learner: str
    lambda_learning_rate: float
    lambda_clip_norm: float
    lambda_dump: bool
    learner: str
    learning_rate: float
    weight_decay: float

    @classmethod
    def read(cls, config: Settings) -> BilevelSettings:
        """Take the settings from RecBole's ``Config``.

        Raises:
            ValueError: naming the key and its value, if one is out of range or two do not go
            together.
        """
        settings = cls(
            regularizer=choice(config, "regularizer", REGULARIZERS),
            reg_weight=real(config, "reg_weight", minimum=0),
            frequency_exponent=real(config, "frequency_exponent"),
            lambda_granularity=choice(config, "lambda_granularity", tuple(GRANULARITIES)),
            lambda_initial=real(config, "lambda_initial", minimum=0),
            lambda_source=choice(config, "lambda_source", LAMBDA_SOURCES),
            lambda_split_ratio=real(config, "lambda_split_ratio", above=0),
            lambda_holdout_ratio=real(config, "lambda_holdout_ratio", above=0),
            meta_gradient=choice(config, "meta_gradient", META_GRADIENTS),
            lookahead_steps=integer(config, "lookahead_steps", minimum=1),
            lookahead_penalty=choice(config, "lookahead_penalty", LOOKAHEAD_PENALTIES),
            lambda_warmup_steps=integer(config, "lambda_warmup_steps", minimum=0),
            lambda_update_interval=integer(config, "lambda_update_interval", minimum=1),
            lambda_learner=choice(config, "lambda_learner", OPTIMIZERS),
            lambda_learning_rate=real(config, "lambda_learning_rate", above=0),
            lambda_clip_norm=real(config, "lambda_clip_norm", above=0),
            lambda_dump=flag(config, "lambda_dump"),
            learner=choice(config, "learner", OPTIMIZERS),
            learning_rate=real(config, "learning_rate", above=0),
            weight_decay=real(config, "weight_decay", minimum=0),
        )
        settings._check_together(config)
        return settings

    @property
    def learns_lambda(self) -> bool:
        """Whether λ is learnt rather than given."""
        return self.regularizer == "lambda_opt"

    @property
    def scales_lambda(self) -> bool:
        """Whether the λ of a row follows its number of ratings."""
        return self.regularizer != "fixed" and self.frequency_exponent != 0

    @property
    def sparse_embeddings(self) -> bool:
        """Whether the embeddings' gradients hold the batch's rows only."""
        return self.learner == "sparse_adam"

    @property
    def sparse_lambda(self) -> bool:
        """Whether λ's gradients hold the batch's rows only."""
        return self.lambda_learner == "sparse_adam"

    def _check_together(self, config: Settings) -> None:
        for key in ("lambda_holdout_ratio", "lambda_split_ratio"):
            if getattr(self, key) >= 1:
                raise ValueError(f"{key} must be a share below 1, got {getattr(self, key)}")
        if self.regularizer == "frequency" and self.frequency_exponent == 0:
            raise ValueError(
                "frequency_exponent must not be 0 with regularizer: frequency, which would be "
                "regularizer: fixed; -0.5 and -1 are good values to begin with"
            )
        if not self.learns_lambda:
            return
        if self.meta_gradient != "higher" and self.lookahead_steps > 1:
            raise ValueError(
                f"lookahead_steps: {self.lookahead_steps} needs meta_gradient: higher; "
                f"{self.meta_gradient} covers none or one"
            )
        for key in ("learner", "lambda_learner") if self.meta_gradient == "forward" else ():
            if getattr(self, key) == "sparse_adam":
                raise ValueError(
                    f"meta_gradient: forward needs {key}: adam or sgd, got 'sparse_adam'"
                )
        if self.meta_gradient == "forward" and self.lambda_granularity not in FEW:
            raise ValueError(
                f"meta_gradient: forward needs lambda_granularity to be one of {', '.join(FEW)}, "
                f"got {self.lambda_granularity!r}; analytic and higher take any"
            )
        if self.meta_gradient == "higher" and self.sparse_embeddings:
            raise ValueError("meta_gradient: higher needs learner: adam or sgd, got 'sparse_adam'")
        if config["repeatable"]:
            raise ValueError(
                f"repeatable must be False with regularizer: lambda_opt, got "
                f"{config['repeatable']!r}: where the rest of the validation ratings selects the "
                "epoch, what λ learns from would be ranked, and count as wrong"
            )
        if config["clip_grad_norm"]:
            raise ValueError(
                f"clip_grad_norm must be empty with regularizer: lambda_opt, got "
                f"{config['clip_grad_norm']!r}: the look-ahead step cannot foresee the clipping"
            )


def check_extended(model_class: type, config: Settings) -> None:
    """Refuse to learn λ for a model of RecBole's that does not allow it.

    Raises:
        ValueError: naming the key and its value.
    """
    name = model_class.__name__
    kind = getattr(model_class, "type", None), getattr(model_class, "input_type", None)
    if kind != (ModelType.GENERAL, InputType.PAIRWISE):
        raise ValueError(f"regularizer: lambda_opt needs a general pairwise model; {name} is none")
    settings = BilevelSettings.read(config)
    if not settings.learns_lambda:
        raise ValueError(
            f"regularizer: {settings.regularizer} is for LambdaOptMF; {name} takes lambda_opt, or "
            "no regularizer and its own reg_weight"
        )
    if settings.sparse_embeddings:
        raise ValueError(f"learner: sparse_adam is for LambdaOptMF; {name} takes adam or sgd")
    if settings.lambda_source == "holdout" and not issubclass(model_class, BPR):
        raise ValueError(
            f"lambda_source: holdout is for LambdaOptMF and BPR: {name} may keep all training "
            "ratings in a graph, those that are then held out among them; set lambda_source: split"
        )
