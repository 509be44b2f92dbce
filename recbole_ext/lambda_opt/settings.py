"""The hyper-parameters of λOpt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from recbole.model.general_recommender import BPR
from recbole.utils import InputType, ModelType

from recbole_ext.lambda_opt.gradient.optimizer_step import OPTIMIZERS
from recbole_ext.lambda_opt.gradient.penalty import LOOKAHEAD_PENALTIES
from recbole_ext.lambda_opt.lambda_network import FEW, GRANULARITIES
from recbole_ext.settings.declared import FLAG, SHARE, Declared, Settings, one_of, real, whole

REGULARIZERS = ("lambda_opt", "fixed", "frequency")
META_GRADIENTS = ("forward", "analytic", "higher")
LAMBDA_SOURCES = ("split", "holdout", "valid")


@dataclass(frozen=True)
class FactorSettings(Declared):
    """The settings of the matrix factorisation itself."""

    embedding_size: Annotated[int, whole(1), "The embedding size (d) of users and items."]


@dataclass(frozen=True)
class BilevelSettings(Declared):
    """How λ is set or learnt, and how the model is trained meanwhile."""

    learner: Annotated[
        str,
        one_of(*OPTIMIZERS),
        "The model's optimiser. The gradient of λ foresees its steps.",
    ]
    learning_rate: Annotated[float, real(above=0), "The learning rate of the model."]
    weight_decay: Annotated[float, real(minimum=0), "The weight decay of the model's optimiser."]
    regularizer: Annotated[
        str,
        one_of(*REGULARIZERS),
        "How λ is set. `lambda_opt` learns it; `fixed` takes reg_weight; `frequency` scales "
        "reg_weight by how often a user or item is rated. lambda_granularity names the sides.",
    ]
    reg_weight: Annotated[
        float,
        real(minimum=0),
        "The λ of `regularizer: fixed` and `frequency`. For `frequency` it is that of a row of "
        "mean frequency; lambda_opt does not use it.",
    ]
    frequency_exponent: Annotated[
        float,
        real(),
        "ν: the λ of a row carries the factor (count / mean count)^ν. The count is of its training "
        "ratings; 0 stands for no factor. It acts on a learnt λ and on `frequency`.",
    ]
    lambda_granularity: Annotated[str, one_of(*GRANULARITIES), "What λ varies with."]
    lambda_initial: Annotated[float, real(minimum=0), "Every λ before it is learnt."]
    lambda_source: Annotated[
        str,
        one_of(*LAMBDA_SOURCES),
        "The ratings that λ learns from. `split`: a share of the validation ratings, while the "
        "rest selects the epoch; `holdout`: a share of the training ratings; `valid`: all "
        "validation ratings, which then also select the epoch, as in the paper.",
    ]
    lambda_split_ratio: Annotated[
        float,
        SHARE,
        "The share of the validation ratings for λ. It is spread evenly over the users; "
        "`lambda_source: split` uses it.",
    ]
    lambda_holdout_ratio: Annotated[
        float,
        SHARE,
        "The share of each user's training ratings for λ. It is rounded, and never all of them; "
        "`lambda_source: holdout` uses it.",
    ]
    meta_gradient: Annotated[
        str,
        one_of(*META_GRADIENTS),
        "How ∂l_V/∂λ is computed. `forward` goes through the whole training so far, for the "
        "granularities that end in global or global-user; `analytic` goes one step ahead in closed "
        "form, `higher` by the package of that name.",
    ]
    lookahead_steps: Annotated[
        int,
        whole(1),
        "How many training steps the look-ahead takes. More than 1 needs `meta_gradient: higher`.",
    ]
    lookahead_penalty: Annotated[
        str,
        one_of(*LOOKAHEAD_PENALTIES),
        "How a row is penalised in the look-ahead. `batch`: by its count in the batch; `expected`: "
        "by its expected count, which does not foresee dynamic negatives; `table`: every row "
        "alike, as in the paper's code.",
    ]
    lambda_warmup_steps: Annotated[int, whole(0), "Training batches before the first λ step."]
    lambda_update_interval: Annotated[
        int,
        whole(1),
        "Training batches from one λ step to the next. With `meta_gradient: forward` one batch "
        "stands for so many, which a high learning rate does not allow.",
    ]
    lambda_learner: Annotated[
        str,
        one_of(*OPTIMIZERS),
        "The optimiser of λ. sparse_adam works on the rows of a batch only.",
    ]
    lambda_learning_rate: Annotated[float, real(above=0), "The learning rate of λ."]
    lambda_clip_norm: Annotated[float, real(above=0), "The largest norm of λ's gradient."]
    lambda_dump: Annotated[
        bool,
        FLAG,
        "Whether to write down λ after each epoch. It goes to the folder `<checkpoint>-lambda`.",
    ]

    @property
    def learns_lambda(self) -> bool:
        """Whether λ is learnt rather than given."""
        return self.regularizer == "lambda_opt"

    @property
    def scales_lambda(self) -> bool:
        """Whether the λ of a row depends on its number of ratings."""
        return self.regularizer != "fixed" and self.frequency_exponent != 0

    @property
    def sparse_embeddings(self) -> bool:
        """Whether the embeddings' gradients hold the batch's rows only."""
        return self.learner == "sparse_adam"

    @property
    def sparse_lambda(self) -> bool:
        """Whether λ's gradients hold the batch's rows only."""
        return self.lambda_learner == "sparse_adam"

    def check(self, config: Settings) -> None:
        """Refuse settings that contradict each other or that the gradient of λ cannot foresee."""
        if self.regularizer == "frequency" and self.frequency_exponent == 0:
            raise ValueError(
                "frequency_exponent must not be 0 with regularizer: frequency, which would be "
                "regularizer: fixed; -0.5 and -1 are good values to begin with"
            )
        if self.learns_lambda:
            self._check_gradient()
            _check_foreseen(config)

    def _check_gradient(self) -> None:
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


def _check_foreseen(config: Settings) -> None:
    """Refuse RecBole's settings that do not work with a learnt λ."""
    if config["repeatable"]:
        raise ValueError(
            f"repeatable must be False with regularizer: lambda_opt, got {config['repeatable']!r}: "
            "where the rest of the validation ratings selects the epoch, what λ learns from would "
            "be ranked, and count as wrong"
        )
    if config["clip_grad_norm"]:
        raise ValueError(
            f"clip_grad_norm must be empty with regularizer: lambda_opt, got "
            f"{config['clip_grad_norm']!r}: the look-ahead step cannot foresee the clipping"
        )


def check_extended(model_class: type, config: Settings) -> None:
    """Check that λ can be learnt for one of RecBole's own models.

    Raises:
        ValueError: if it cannot; the error names the key and its value.
    """
    name = model_class.__name__
    kind = getattr(model_class, "type", None), getattr(model_class, "input_type", None)
    if kind != (ModelType.GENERAL, InputType.PAIRWISE):
        raise ValueError(
            f"regularizer: lambda_opt needs a general pairwise model; {name} is not one"
        )
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
