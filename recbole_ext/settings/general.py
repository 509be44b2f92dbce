"""Checks of RecBole's general settings, each when something is about to use it.

RecBole itself does not check most settings before it uses them. A wrong value then leads to an
error of torch, pandas or numpy that names neither the key nor the value, or to no error at all.
A ``Config`` may serve a data set alone, and a data set no training. Each table of checks here is
therefore of the settings that one part of RecBole's uses first.
"""

from __future__ import annotations

import math
import re
from functools import partial
from numbers import Integral, Real

from recbole.utils import InputType

from recbole_ext.settings.evaluation import (
    check_evaluation_fits,
    check_negatives_there,
    check_valid_metric,
    cutoffs,
    evaluation,
    metrics,
    negatives,
)
from recbole_ext.settings.kinds import (
    Check,
    columns,
    each,
    entries,
    interval,
    intervals,
    is_number,
    names,
    one_of,
    optional,
    seed,
    some_names,
    switch,
    table,
    whole,
    word,
)
from recbole_ext.settings.reading import Settings, flag, real
from recbole_ext.settings.yaml_files import recbole_folder

# RecBole's yaml calls these weights whole numbers, as their defaults have no decimal point
_NO_COUNTS = re.compile(r"\w*_weight|w_max|topk_factor|\w*anneal_steps")
LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam")
TRANSFORMS = (
    "mask_itemseq",
    "inverse_itemseq",
    "crop_itemseq",
    "reorder_itemseq",
    "user_defined",
)
STATES = ("debug", "info", "warning", "error", "critical")


def check(settings: Settings, checks: dict[str, Check]) -> None:
    """Refuse settings that are out of range.

    Raises:
        ValueError: names the key, its value and the allowed values.
    """
    for key, check_value in checks.items():
        try:
            check_value(settings, key)
        except ValueError as error:
            if "got 'None'" not in str(error):
                raise
            raise ValueError(
                f"{error}: in a yaml None is a text; leave it empty or write ~"
            ) from None


def check_config(settings: Settings) -> None:
    """Refuse settings that a ``Config`` itself uses and that are out of range, or do not fit.

    Raises:
        ValueError: names the key, its value and the allowed values.
    """
    check(settings, OF_CONFIG)
    check_evaluation_fits(settings)


def check_training(settings: Settings, model_class: type, validates: bool) -> None:
    """Refuse settings that do not fit together in a training.

    Args:
        settings: all settings.
        model_class: the model's class.
        validates: whether epochs are validated, so that ``valid_metric`` selects one.

    Raises:
        ValueError: names the key, its value and what it needs.
    """
    if validates:
        check_valid_metric(settings)
    pairwise = getattr(model_class, "input_type", None) == InputType.PAIRWISE
    if pairwise and settings["loss_type"] in (None, "BPR"):  # RecBole's SINE has other losses too
        check_negatives_there(settings)


def check_numbers(settings: Settings, model: str) -> None:
    """Refuse values that are not numbers for hyper-parameters that are numbers in RecBole's yaml.

    Raises:
        ValueError: names the key and its value.
    """
    path = recbole_folder() / "properties" / "model" / f"{model}.yaml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    numbers = re.findall(r"^(\w+): *(-?[\d.e-]+) *# *\((int|float)\)", text, re.MULTILINE)
    for key, default, kind in numbers:
        # RecBole's yaml also calls DiffRec's noise_scale: 0.001 an int
        counts = kind == "int" and default.isdigit() and not _NO_COUNTS.fullmatch(key)
        valid = isinstance(settings[key], Integral if counts else Real)
        if isinstance(settings[key], bool) or not valid:
            what = "whole number" if counts else "number"
            raise ValueError(f"{key} must be a {what}, such as {default}; got {settings[key]!r}")


def _parts(settings: Settings, key: str) -> None:
    names(settings, key)
    some_names(settings, key)


def _threshold(settings: Settings, key: str) -> None:
    table(settings, key)
    numbers = list(settings[key].values())
    if len(numbers) != 1 or not is_number(numbers[0]):
        raise ValueError(f"{key} must be one column and a number, got {settings[key]!r}")


def _clipping(settings: Settings, key: str) -> None:
    if not settings[key] and not is_number(settings[key]):
        return
    table(settings, key)
    checks: dict[str, Check] = {"max_norm": partial(real, above=0), "norm_type": _norm}
    checks |= each(flag, "error_if_nonfinite", "foreach")
    entries(settings[key], key, checks)
    if "max_norm" not in settings[key]:
        raise ValueError(f"{key} must have a max_norm, got {settings[key]!r}")


def _norm(settings: Settings, key: str) -> None:
    if settings[key] not in ("inf", math.inf):
        real(settings, key, above=0)


def _gpus(settings: Settings, key: str) -> None:
    value = settings[key]  # a tuple for 0,1 on a command line
    numbers = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(n, Integral | str) and not isinstance(n, bool) for n in numbers):
        raise ValueError(f"{key} must be the number of a GPU, such as 0 or '0,1', got {value!r}")


# What a Config itself uses, and the seed, which init_seed is handed as a bare number
OF_CONFIG: dict[str, Check] = {
    "seed": seed,
    "use_gpu": switch,
    "gpu_id": _gpus,
    **each(optional(word), "preset", "resume_file", "dataset_save_path", "dataloaders_save_path"),
    **each(word, "valid_metric", "data_path"),
    "metrics": metrics,
    "topk": cutoffs,
    "train_neg_sample_args": optional(negatives),
    "eval_args": evaluation,
}
# What a data set uses
OF_DATA: dict[str, Check] = {
    **each(word, "NEG_PREFIX", "LIST_SUFFIX", "USER_ID_FIELD", "ITEM_ID_FIELD"),
    **each(optional(word), "RATING_FIELD", "TIME_FIELD", "LABEL_FIELD", "encoding"),
    **each(word, "field_separator", "seq_separator", "ITEM_LIST_LENGTH_FIELD", "POSITION_FIELD"),
    **each(word, "HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD", "RELATION_ID_FIELD"),
    "ENTITY_ID_FIELD": word,
    **each(optional(columns), "load_col", "unload_col", "unused_col"),
    **each(optional(interval), "user_inter_num_interval", "item_inter_num_interval"),
    **each(optional(interval), "entity_kg_num_interval", "relation_kg_num_interval"),
    "val_interval": optional(intervals),
    "rm_dup_inter": optional(one_of("first", "last")),
    **each(switch, "filter_inter_by_user_or_item", "kg_reverse_r", "repeatable"),
    **each(optional(names), "alias_of_user_id", "alias_of_item_id", "alias_of_entity_id"),
    **each(optional(names), "alias_of_relation_id", "normalize_field"),
    "normalize_all": optional(switch),
    "numerical_features": names,
    **each(optional(table), "seq_len", "preload_weight", "discretization"),
    "threshold": optional(_threshold),
    "MAX_ITEM_LIST_LENGTH": whole(1),
    "additional_feat_suffix": optional(some_names),
    "benchmark_filename": optional(_parts),
}
# What a loader uses
OF_LOADERS: dict[str, Check] = {
    **each(whole(1), "train_batch_size", "eval_batch_size"),
    "worker": whole(0),
    "shuffle": switch,
    "transform": optional(one_of(*TRANSFORMS)),
}
# What a trainer uses
OF_TRAINERS: dict[str, Check] = {
    **each(switch, "reproducibility", "show_progress", "log_wandb", "require_pow"),
    "enable_scaler": switch,
    "enable_amp": flag,
    **each(whole(0), "epochs", "stopping_step", "metric_decimal_place"),
    "embedding_size": optional(whole(1)),
    **each(optional(whole(0)), "loss_decimal_place", "frequency_groups", "save_last_step"),
    "eval_step": whole(-1),
    "learning_rate": partial(real, above=0),
    "weight_decay": partial(real, minimum=0),
    "learner": one_of(*LEARNERS),
    "state": optional(one_of(*STATES)),
    **each(word, "checkpoint_dir", "wandb_project"),
    "clip_grad_norm": _clipping,
}
# RecBole's own models train with these as well: not at all, or with Adam after a warning
OF_RECBOLES_TRAINERS: dict[str, Check] = {
    **OF_TRAINERS,
    "learning_rate": partial(real, minimum=0),
    "learner": word,
}
CHECKS = {**OF_CONFIG, **OF_DATA, **OF_LOADERS, **OF_TRAINERS}
