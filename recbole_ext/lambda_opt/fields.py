"""The hyper-parameters of λ and of the training in which it is learnt, without their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from recbole_ext.lambda_opt.gradient.calibration import LAMBDA_LOSSES
from recbole_ext.lambda_opt.gradient.optimizer_step import OPTIMIZERS
from recbole_ext.lambda_opt.gradient.penalty import LOOKAHEAD_PENALTIES
from recbole_ext.lambda_opt.lambda_network import GRANULARITIES, POWER_LAW
from recbole_ext.settings.declared import (
    FLAG,
    SHARE,
    Declared,
    one_of,
    optional,
    real,
    whole,
)

REGULARIZERS = ("lambda_opt", "fixed", "frequency")
META_GRADIENTS = ("forward", "analytic", "higher")
LAMBDA_SOURCES = ("split", "holdout", "valid")


@dataclass(frozen=True, kw_only=True)
class LambdaFields(Declared):
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
    item_reg_weight: Annotated[
        float | None,
        optional(real(minimum=0)),
        "The reg_weight of items, if it is another one. It needs `lambda_granularity: power-law`.",
    ] = None
    frequency_exponent: Annotated[
        float,
        real(),
        "ν: the λ of a row carries the factor (count / mean count)^ν. The count is of its training "
        "ratings; 0 stands for no factor. It acts on `frequency` and on learnt tables of λ; for a "
        "learnt power law it is where both exponents begin.",
    ]
    item_frequency_exponent: Annotated[
        float | None,
        optional(real()),
        "The ν of items, if it is another one. It needs `lambda_granularity: power-law`.",
    ] = None
    lambda_granularity: Annotated[
        str,
        one_of(POWER_LAW, *GRANULARITIES),
        "What λ varies with. `power-law`: a strength and a frequency exponent for users, and two "
        "for items; the others are tables of λ, for `loss: bpr`.",
    ]
    lambda_initial: Annotated[
        float | None,
        optional(real(minimum=0)),
        "Every λ before it is learnt. Empty: where the noise of the ratings ends, "
        "0.3 (√n_u + √n_i) with the mean numbers of ratings of a user and of an item.",
    ]
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
    lambda_loss: Annotated[
        str,
        one_of(*LAMBDA_LOSSES),
        "The loss that λ minimises. `hit`: that of finding one of the user's items first, for "
        "`loss: softmax`; `calibrated`: the training loss. Both are taken at the best scale of the "
        "scores. `plain` is the training loss of the scores as they are.",
    ] = "plain"
    meta_gradient: Annotated[
        str,
        one_of(*META_GRADIENTS),
        "How ∂l_V/∂λ is computed. `forward` goes through the whole training so far, for power-law "
        "and the granularities that end in global or global-user; `analytic` goes one step ahead "
        "in closed form, `higher` by the package of that name.",
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
    lambda_horizon: Annotated[
        int,
        whole(0),
        "The epochs that `meta_gradient: forward` remembers. What a training step has changed is "
        "forgotten by and by, and outliers are clipped; 0 stands for the exact derivative.",
    ] = 0
    lambda_epochs: Annotated[
        int,
        whole(0),
        "The epochs in which λ is learnt before the model is trained anew at this λ. They come "
        "before `epochs`; 0: λ is learnt while the model is trained, once.",
    ] = 0
    lambda_steps: Annotated[
        int,
        whole(0),
        "The least number of batches in which λ is learnt before that. Small data sets have few "
        "batches an epoch; `lambda_epochs` above 0 uses it.",
    ] = 0
    refit_learning_rate: Annotated[
        float | None,
        optional(real(above=0)),
        "The learning rate of the model that is trained anew, if it is another one. "
        "`lambda_epochs` above 0 uses it.",
    ] = None
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
    def is_power_law(self) -> bool:
        """Whether λ is a power law of the number of ratings instead of a table."""
        return self.lambda_granularity == POWER_LAW

    @property
    def scales_lambda(self) -> bool:
        """Whether a table's λ of a row depends on the row's number of ratings."""
        return (
            self.regularizer != "fixed" and self.frequency_exponent != 0 and not self.is_power_law
        )

    @property
    def refits(self) -> bool:
        """Whether the model is trained anew once λ is learnt."""
        return self.learns_lambda and self.lambda_epochs > 0

    @property
    def given_strengths(self) -> tuple[float, float]:
        """λ of users and of items of mean frequency, where it is given."""
        item = self.item_reg_weight
        return self.reg_weight, self.reg_weight if item is None else item

    @property
    def given_exponents(self) -> tuple[float, float]:
        """ν of users and of items, where it is given."""
        if self.regularizer == "fixed":
            return 0.0, 0.0
        item = self.item_frequency_exponent
        return self.frequency_exponent, self.frequency_exponent if item is None else item

    @property
    def sparse_embeddings(self) -> bool:
        """Whether the embeddings' gradients hold the batch's rows only."""
        return self.learner == "sparse_adam"

    @property
    def sparse_lambda(self) -> bool:
        """Whether λ's gradients hold the batch's rows only."""
        return self.lambda_learner == "sparse_adam"
