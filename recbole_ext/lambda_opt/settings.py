"""The hyper-parameters of λOpt, and which of them fit together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from recbole.model.general_recommender import BPR
from recbole.utils import InputType, ModelType

from recbole_ext.lambda_opt.fields import LambdaFields
from recbole_ext.lambda_opt.lambda_network import FEW, POWER_LAW
from recbole_ext.settings.declared import Declared, Settings, one_of, optional, whole

SHARDINGS = ("row",)
LOSSES = ("softmax", "bpr")
# RecBole's default, which a loss without negatives does not use
UNIFORM_NEGATIVE = {
    "distribution": "uniform",
    "sample_num": 1,
    "alpha": 1.0,
    "dynamic": False,
    "candidate_num": 0,
}


@dataclass(frozen=True, kw_only=True)
class FactorSettings(Declared):
    """The settings of the matrix factorisation itself."""

    embedding_size: Annotated[int, whole(1), "The embedding size (d) of users and items."]
    loss: Annotated[
        str,
        one_of(*LOSSES),
        "The training loss. `softmax`: the likelihood of each user's items under a softmax over "
        "all items, where train_batch_size counts users; `bpr`: pairs of a positive and a negative "
        "item, with defaults of its own.",
    ] = "bpr"
    softmax_items: Annotated[
        int | None,
        optional(whole(1)),
        "The items drawn for a batch, in place of all items. It is for catalogues whose scores do "
        "not fit into memory. The user's own items are always among them; empty: all items.",
    ] = None

    embedding_sharding: Annotated[
        str | None,
        optional(one_of(*SHARDINGS)),
        "How several processes hold the tables. `row`: each holds its own rows of the embeddings, "
        "and of their λ and moments, for `loss: bpr`, or for `softmax_items`, with learner "
        "sparse_adam or sgd; empty: each holds whole tables.",
    ] = None

    def check(self, config: Settings) -> None:
        """Refuse settings that belong to another loss, or to another optimiser."""
        if self.softmax_items is not None and self.loss != "softmax":
            raise ValueError(
                f"softmax_items: {self.softmax_items} needs loss: softmax, got {self.loss}"
            )
        if self.softmax_items is not None and config["learner"] == "adam":
            raise ValueError(
                f"softmax_items: {self.softmax_items} needs learner: sparse_adam or sgd, got "
                "'adam', which changes every row of the tables in each step"
            )
        given = {**UNIFORM_NEGATIVE, **(config["train_neg_sample_args"] or UNIFORM_NEGATIVE)}
        if self.loss == "softmax" and given != UNIFORM_NEGATIVE:
            raise ValueError(
                f"train_neg_sample_args: {config['train_neg_sample_args']} needs loss: bpr, as "
                "loss: softmax draws no negatives; leave it out"
            )
        if self.embedding_sharding is not None:
            self._check_sharding(config)

    def _check_sharding(self, config: Settings) -> None:
        """Refuse what reads or changes all rows of a table in each step, or keeps them."""
        given = f"embedding_sharding: {self.embedding_sharding} needs"
        if self.loss == "softmax" and self.softmax_items is None:
            raise ValueError(
                f"{given} softmax_items with loss: softmax, which reads all items in each step; "
                "set softmax_items: 2000, or loss: bpr"
            )
        if config["learner"] not in ("sparse_adam", "sgd"):
            raise ValueError(
                f"{given} learner: sparse_adam or sgd, got {config['learner']!r}, which changes "
                "every row of the tables in each step"
            )
        if config["regularizer"] == "lambda_opt" and config["meta_gradient"] == "higher":
            raise ValueError(
                f"{given} meta_gradient: forward or analytic, got 'higher', which copies the tables"
            )
        if config["lambda_dump"]:
            raise ValueError(
                f"{given} lambda_dump: False, got {config['lambda_dump']!r}; the checkpoints hold "
                "the λ of all rows"
            )


@dataclass(frozen=True, kw_only=True)
class BilevelSettings(LambdaFields):
    """How λ is set or learnt, and how the model is trained meanwhile."""

    def check(self, config: Settings) -> None:
        """Refuse settings that contradict each other or that the gradient of λ cannot foresee.

        Raises:
            ValueError: names the key, its value and what it needs.
        """
        if self.regularizer == "frequency" and self.given_exponents == (0, 0):
            raise ValueError(
                "frequency_exponent must not be 0 with regularizer: frequency, which would be "
                "regularizer: fixed; good values to begin with are 0.5 and 1 for loss: softmax, "
                "-0.5 and -1 for loss: bpr"
            )
        by_rows = config["softmax_items"] is not None
        self._check_loss(config["loss"], by_rows)
        if self.learns_lambda:
            self._check_gradient(by_rows)
            _check_foreseen(config)

    def _check_loss(self, loss: str, by_rows: bool) -> None:
        for key in ("item_reg_weight", "item_frequency_exponent"):
            if getattr(self, key) is not None and not self.is_power_law:
                raise ValueError(
                    f"{key}: {getattr(self, key)} needs lambda_granularity: power-law, got "
                    f"{self.lambda_granularity!r}"
                )
        if loss != "softmax":
            self._check_pairwise()
            return
        if not self.is_power_law:
            raise ValueError(
                f"lambda_granularity: {self.lambda_granularity} needs loss: bpr; loss: softmax "
                "takes power-law"
            )
        if self.learns_lambda and self.meta_gradient != "forward":
            raise ValueError(
                f"meta_gradient: {self.meta_gradient} needs loss: bpr; loss: softmax takes forward"
            )
        for key in ("learner", "lambda_learner"):
            if getattr(self, key) == "sparse_adam" and not (by_rows and key == "learner"):
                raise ValueError(
                    f"{key}: sparse_adam needs loss: bpr; loss: softmax takes adam or sgd"
                    + (", or sparse_adam with softmax_items" if key == "learner" else "")
                )

    def _check_gradient(self, by_rows: bool) -> None:
        if self.meta_gradient != "higher" and self.lookahead_steps > 1:
            raise ValueError(
                f"lookahead_steps: {self.lookahead_steps} needs meta_gradient: higher; "
                f"{self.meta_gradient} covers none or one"
            )
        for key in ("learner", "lambda_learner") if self.meta_gradient == "forward" else ():
            if getattr(self, key) == "sparse_adam" and not by_rows:
                raise ValueError(
                    f"meta_gradient: forward needs {key}: adam or sgd, got 'sparse_adam'"
                )
        if self.meta_gradient != "forward":
            self._check_lookahead()
        elif not self.is_power_law and self.lambda_granularity not in FEW:
            raise ValueError(
                f"meta_gradient: forward needs lambda_granularity to be one of {POWER_LAW}, "
                f"{', '.join(FEW)}, got {self.lambda_granularity!r}; analytic and higher take any "
                "table"
            )
        if self.lambda_initial is None and not self.is_power_law:
            raise ValueError(
                f"lambda_initial must not be empty with lambda_granularity: "
                f"{self.lambda_granularity}; give a number of at least 0"
            )
        if self.lambda_initial == 0 and self.is_power_law:
            raise ValueError(
                f"lambda_initial must be above 0 with lambda_granularity: power-law, got "
                f"{self.lambda_initial}: λ is an exponential there"
            )
        if self.meta_gradient == "higher" and self.sparse_embeddings:
            raise ValueError("meta_gradient: higher needs learner: adam or sgd, got 'sparse_adam'")

    def _check_pairwise(self) -> None:
        if self.lambda_loss == "hit":
            raise ValueError("lambda_loss: hit needs loss: softmax; loss: bpr takes the others")
        if self.lambda_epochs > 0:
            raise ValueError(
                f"lambda_epochs: {self.lambda_epochs} needs loss: softmax; loss: bpr takes 0"
            )

    def _check_lookahead(self) -> None:
        if self.lambda_loss != "plain":
            raise ValueError(
                f"lambda_loss: {self.lambda_loss} needs meta_gradient: forward; "
                f"{self.meta_gradient} takes plain"
            )
        if self.is_power_law:
            raise ValueError(
                "lambda_granularity: power-law needs meta_gradient: forward, got "
                f"{self.meta_gradient!r}"
            )


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
    if config["loss"] != "bpr":
        raise ValueError(
            f"loss: {config['loss']} is for LambdaOptMF; {name} keeps its own loss: leave it out"
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
