"""The hyper-parameters of cold-start tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from recbole_ext.settings import kinds, reading
from recbole_ext.settings.declared import (
    FLAG,
    NAME,
    SHARE,
    Declared,
    Kind,
    all_or_whole,
    one_of,
    optional,
    real,
    some_whole,
    whole,
)
from recbole_ext.settings.reading import Settings

COLD_USER_RULES = ("share", "first_appearance")
COLD_ITEM_RULES = ("share", "first_appearance", "field")
TASKS = ("rating", "ranking")
WARM_EVALUATIONS = ("held_out", "training")


def _interval(config: Settings, key: str) -> tuple[int, int]:
    value = config[key]
    if (
        not isinstance(value, list | tuple)
        or len(value) != 2
        or not all(isinstance(end, int) for end in value)
        or not 1 <= value[0] <= value[1]
    ):
        raise ValueError(
            f"{key} must be two whole numbers, the least and the most ratings, got {value!r}"
        )
    return value[0], value[1]


def _or_seed(config: Settings, key: str) -> int:
    return reading.integer(config, "seed" if config[key] is None else key, minimum=0)


def _columns(config: Settings, key: str) -> list[str]:
    kinds.names(config, key)
    return list(config[key])


@dataclass(frozen=True)
class TaskSettings(Declared):
    """What a task is, which scenario it is in, and how the tasks are trained on and judged."""

    ignored_fields: Annotated[
        list[str] | None,
        optional(Kind(_columns, "list", "column names")),
        "Columns of the .user and .item files that are not used. Name what sums up ratings, such "
        "as an item's average: it leaks the queries.",
    ]
    scenario_field: Annotated[
        str | None,
        NAME,
        "The column of the .inter file that names the scenario. It holds W-W, W-C, C-W or C-C "
        "(warm or cold user, warm or cold item); without it the rules below decide.",
    ]
    cold_user_ratio: Annotated[float, SHARE, "The share of cold users, by cold_user_rule."]
    cold_item_rule: Annotated[
        str,
        one_of(*COLD_ITEM_RULES),
        "Which items are cold. `share`: a share drawn at random; `first_appearance`: the share "
        "that appears last; `field`: those with a field above a threshold.",
    ]
    cold_item_ratio: Annotated[float, SHARE, "The share of items that are cold."]
    cold_item_field: Annotated[
        str | None,
        NAME,
        "The field of the .item file for `cold_item_rule: field`. An example is release_year.",
    ]
    cold_item_threshold: Annotated[
        float | None, optional(real()), "Items with a higher value of cold_item_field are cold."
    ]
    task_ratings: Annotated[
        tuple[int, int],
        Kind(_interval, "list", "two whole numbers"),
        "The least and the most ratings of a task. A task is a user's ratings in one scenario. For "
        "`task: ranking` the least is of those that are judged, the most of what is trained on.",
    ]
    query_size: Annotated[
        int,
        whole(1),
        "How many ratings of a task are predicted. A training task has at most half of its ratings "
        "as query.",
    ]
    support_size: Annotated[
        int | None,
        all_or_whole(1),
        "How many ratings of a task there are to adapt on. `all` takes all that are left.",
    ]
    valid_user_ratio: Annotated[
        float,
        SHARE,
        "The share of users whose tasks select the epoch. The tasks of the others are the test.",
    ]
    warm_evaluation: Annotated[
        str,
        one_of(*WARM_EVALUATIONS),
        "Which W-W queries are judged. `held_out` ones were never trained on; `training` judges "
        "those that were, as MeLU's paper does.",
    ]
    train_on_all: Annotated[
        bool,
        FLAG,
        "Whether warm users with too few or too many ratings are trained on. Of too many as many "
        "as a task may have are used.",
    ]
    resample_queries: Annotated[
        bool, FLAG, "Whether each epoch draws the queries of the training tasks anew."
    ]
    split_seed: Annotated[
        int,
        Kind(_or_seed, "int", "at least 0, or empty"),
        "The seed of the split. Without it `seed` is.",
    ]
    floors: Annotated[bool, FLAG, "Whether the test is reported beside simple baselines."]
    gradient_clamp: Annotated[
        float,
        real(minimum=0),
        "The largest absolute value of a gradient's element. 0 sets no limit.",
    ]
    cold_user_rule: Annotated[
        str,
        one_of(*COLD_USER_RULES),
        "Which users are cold. `share`: a share drawn at random; `first_appearance`: the share "
        "that appears last.",
    ] = "share"
    task: Annotated[
        str,
        one_of(*TASKS),
        "What is learnt. `rating`: the values of ratings; `ranking`: which items a user rates, for "
        "lists. A ranking task is all ratings of a user, and no item is cold.",
    ] = "rating"
    support_sizes: Annotated[
        Sequence[int],
        some_whole(0),
        "How many ratings a ranking task may give. Each training task draws one of these numbers "
        "anew; the tasks of validation and test have one each, in turn.",
    ] = ()

    @property
    def ranks(self) -> bool:
        """Whether tasks are for lists."""
        return self.task == "ranking"

    def check(self, config: Settings) -> None:
        """Refuse tasks that have nothing to adapt on, and rules that contradict."""
        if self.ranks:
            if not self.support_sizes:
                raise ValueError("support_sizes must name a number of ratings, got []")
            return
        if self.task_ratings[0] <= self.query_size:
            raise ValueError(
                f"task_ratings: a task of {self.task_ratings[0]} ratings has none to adapt on "
                f"beside query_size: {self.query_size}; raise the one or lower the other"
            )
        if self.warm_evaluation == "training" and (self.resample_queries or self.train_on_all):
            raise ValueError(
                "warm_evaluation: training reports the queries of the training tasks, which are "
                "then fixed; set resample_queries: False and train_on_all: False"
            )
        if self.cold_item_rule == "field" and self.scenario_field is None:
            for key in ("cold_item_field", "cold_item_threshold"):
                if getattr(self, key) is None:
                    raise ValueError(f"cold_item_rule: field needs {key}, got None")
