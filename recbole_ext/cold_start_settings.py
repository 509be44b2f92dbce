"""The hyper-parameters of cold-start tasks, read and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass

from recbole_ext.hyperparameters import (
    Settings,
    all_or_integer,
    choice,
    flag,
    integer,
    optional_name,
    real,
    share,
)

COLD_ITEM_RULES = ("share", "first_appearance", "field")
WARM_EVALUATIONS = ("held_out", "training")


@dataclass(frozen=True)
class ColdStartSettings:
    """What a task is and which scenario it is in; ``properties/model/MeLU.yaml`` explains each."""

    scenario_field: str | None
    cold_user_ratio: float
    cold_item_rule: str
    cold_item_ratio: float
    cold_item_field: str | None
    cold_item_threshold: float | None
    task_ratings: tuple[int, int]
    query_size: int
    support_size: int | None
    valid_user_ratio: float
    warm_evaluation: str
    train_on_all: bool
    resample_queries: bool
    split_seed: int

    @classmethod
    def read(cls, config: Settings) -> ColdStartSettings:
        """Take the settings from RecBole's ``Config``.

        Raises:
            ValueError: naming the key and its value, if one is out of range or two do not go
            together.
        """
        seed = "seed" if config["split_seed"] is None else "split_seed"
        settings = cls(
            scenario_field=optional_name(config, "scenario_field"),
            cold_user_ratio=share(config, "cold_user_ratio"),
            cold_item_rule=choice(config, "cold_item_rule", COLD_ITEM_RULES),
            cold_item_ratio=share(config, "cold_item_ratio"),
            cold_item_field=optional_name(config, "cold_item_field"),
            cold_item_threshold=_optional_real(config, "cold_item_threshold"),
            task_ratings=_interval(config, "task_ratings"),
            query_size=integer(config, "query_size", minimum=1),
            support_size=all_or_integer(config, "support_size", minimum=1),
            valid_user_ratio=share(config, "valid_user_ratio"),
            warm_evaluation=choice(config, "warm_evaluation", WARM_EVALUATIONS),
            train_on_all=flag(config, "train_on_all"),
            resample_queries=flag(config, "resample_queries"),
            split_seed=integer(config, seed, minimum=0),
        )
        settings._check_together()
        return settings

    def _check_together(self) -> None:
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


def _optional_real(config: Settings, key: str) -> float | None:
    return None if config[key] is None else real(config, key)
