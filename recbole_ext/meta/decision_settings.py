"""The hyper-parameters of a decision that adapts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from recbole_ext.settings.declared import FLAG, Declared, Settings, one_of, real, some_whole, whole

INNER_SOLVERS = ("ridge", "gradient")
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
        "users and items, as in the papers.",
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
        """Refuse a factorisation that has more dimensions than the items' vectors."""
        used = self.inner_solver == "ridge" and self.item_embedding
        if used and self.factorized_start > self.factor_size:
            raise ValueError(
                f"factorized_start must be at most factor_size ({self.factor_size}), got "
                f"{self.factorized_start}"
            )
