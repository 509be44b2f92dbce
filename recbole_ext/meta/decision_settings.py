"""The hyper-parameters of a decision that adapts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from recbole_ext.settings.declared import (
    FLAG,
    Declared,
    Settings,
    all_or_whole,
    one_of,
    real,
    some_whole,
    whole,
)

INNER_SOLVERS = ("ridge", "gradient", "sum")
OUTER_LOSSES = ("absolute", "squared")
COMBINATIONS = ("median", "mean", "none")


@dataclass(frozen=True)
class DecisionSettings(Declared):
    """What a decision is made of, how it adapts and what it is trained to predict."""

    embedding_size: Annotated[
        int,
        whole(1),
        "The embedding size of each field of users and items. MAMO's two embeddings (d) of "
        "`inner_solver: gradient` have it as well.",
    ]
    mlp_hidden_size: Annotated[
        list[int], some_whole(1), "The sizes of the hidden layers of the decision network."
    ]
    inner_solver: Annotated[
        str,
        one_of(*INNER_SOLVERS),
        "How a user's decision is found from the support set. `ridge` solves for the last layer, "
        "on a network that sees items; `gradient` takes steps on all layers of a network that sees "
        "users and items, as in the papers. For `task: ranking` a user has one vector: `sum` adds "
        "up vectors of the given items, and `gradient` takes steps on it as well.",
    ]
    factor_size: Annotated[int, whole(1), "The size of the last layer of `inner_solver: ridge`."]
    ridge_strength: Annotated[
        float, real(above=0), "The initial strength of the ridge regression. It is learnt."
    ]
    factorized_start: Annotated[
        int,
        whole(0),
        "How many dimensions of the items' vectors start as a factorisation. It is a matrix "
        "factorisation of the training ratings, for `inner_solver: ridge`.",
    ]
    rated_items: Annotated[
        bool,
        FLAG,
        "Whether it counts which items were rated. This is the idea of SVD++, for "
        "`inner_solver: ridge`.",
    ]
    item_embedding: Annotated[
        bool,
        FLAG,
        "Whether items that are trained on have a vector of their own. It stands beside their "
        "content.",
    ]
    residual: Annotated[
        bool,
        FLAG,
        "Whether to predict what the biases of user and item leave over. An item's bias is shrunk "
        "towards what its content lets expect.",
    ]
    user_shrinkage: Annotated[
        float,
        real(minimum=0),
        "How many ratings without a bias each user is given. They come on top of the support set, "
        "for `residual`.",
    ]
    zero_unseen_values: Annotated[
        bool,
        FLAG,
        "Whether a field's value without a training rating is embedded as 0. Otherwise its row is "
        "one that was never trained.",
    ]
    outer_loss: Annotated[
        str,
        one_of(*OUTER_LOSSES),
        "The error of the queries that training minimises. `squared` is MeLU's; MAMO's "
        "`head: classes` minimises the cross-entropy instead.",
    ]
    combination: Annotated[
        str,
        one_of(*COMBINATIONS),
        "What is predicted from the levels' probabilities. An ordinal regression, fitted to "
        "the validation tasks, gives these from the network's prediction and the biases. The "
        "`median` has the least MAE and the `mean` the least RMSE; `none` leaves the network's "
        "prediction.",
    ] = "none"

    def check(self, config: Settings) -> None:
        """Refuse a solver of another task, and more dimensions than the items' vectors have."""
        ranks = config["task"] == "ranking"
        refused = "ridge" if ranks else "sum"
        if self.inner_solver == refused:
            others = " or ".join(name for name in INNER_SOLVERS if name != refused)
            raise ValueError(
                f"inner_solver must be {others} for task: {'ranking' if ranks else 'rating'}, got "
                f"{self.inner_solver!r}"
            )
        used = self.inner_solver == "ridge" and self.item_embedding
        if used and self.factorized_start > self.factor_size:
            raise ValueError(
                f"factorized_start must be at most factor_size ({self.factor_size}), got "
                f"{self.factorized_start}"
            )


@dataclass(frozen=True)
class RankingSettings(Declared):
    """What a model for ``task: ranking`` is made of."""

    softmax_items: Annotated[
        int | None,
        all_or_whole(1),
        "The items of the softmax, for `task: ranking`. `all`, or how many are drawn for each "
        "batch; a drawn item stands for others.",
    ] = None
    item_dropout: Annotated[
        float,
        real(minimum=0, below=1),
        "The dropout of items' vectors in training, for `task: ranking`.",
    ] = 0.0
    item_content: Annotated[
        bool,
        FLAG,
        "Whether an item's vector depends on its content as well, for `task: ranking`.",
    ] = True
    content_start: Annotated[
        bool,
        FLAG,
        "Whether a user's vector starts from the user's content, for `task: ranking`. The start "
        "counts less with each rating that is given.",
    ] = True
    neighbour_weight: Annotated[
        float,
        real(minimum=0),
        "How much a list counts what goes with the given items, for `task: ranking`. It is EASE, "
        "fitted to the training ratings; 0 leaves it out.",
    ] = 0.0
    neighbour_strength: Annotated[
        float, real(above=0), "The ridge penalty of `neighbour_weight`."
    ] = 500.0
    neighbour_items: Annotated[
        int,
        whole(1),
        "The most items for which `neighbour_weight` counts. A matrix of that many rows and "
        "columns is inverted each time that the model is made or loaded.",
    ] = 10000

    def check(self, config: Settings) -> None:
        """Refuse a user's vector that nothing can move."""
        remembers = config["memory_slots"] is not None  # MAMO
        moved = config["rated_items"] or self.content_start or remembers
        if config["task"] == "ranking" and config["inner_solver"] == "sum" and not moved:
            raise ValueError(
                "inner_solver: sum needs rated_items: True or content_start: True; without either "
                "the list is the same for everybody"
            )
