"""Checks of RecBole's general settings, before any data are loaded.

RecBole itself does not check most settings before it uses them. A wrong value then leads to an
error of torch, pandas or numpy that names neither the key nor the value, or to no error at all.
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


def check_general(settings: Settings, model_class: type) -> None:
    """Refuse general settings of RecBole's that are out of range or contradict each other.

    Raises:
        ValueError: names the key, its value and the allowed values.
    """
    for key, check in CHECKS.items():
        check(settings, key)
    check_evaluation_fits(settings)
    if getattr(model_class, "input_type", None) == InputType.PAIRWISE:
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


def _unset(settings: Settings, key: str) -> None:
    if settings[key]:
        raise ValueError(
            f"{key} must be False, got {settings[key]!r}: RecBole pickles what it saves, which can "
            "run any code that is hidden in it, and is not read"
        )


def _pickled(settings: Settings, key: str) -> None:
    raise ValueError(
        f"{key} must be empty, got {settings[key]!r}: a pickled data set can run any code that is "
        "hidden in it, and is not read"
    )


CHECKS: dict[str, Check] = {
    **each(switch, "use_gpu", "reproducibility", "show_progress", "log_wandb"),
    **each(_unset, "save_dataset", "save_dataloaders"),
    **each(switch, "shuffle", "require_pow", "repeatable", "kg_reverse_r"),
    **each(switch, "enable_scaler", "filter_inter_by_user_or_item"),
    **each(optional(switch), "normalize_all", "valid_metric_bigger"),
    "enable_amp": flag,
    **each(whole(0), "worker", "epochs", "stopping_step", "metric_decimal_place"),
    **each(whole(1), "train_batch_size", "eval_batch_size", "MAX_ITEM_LIST_LENGTH"),
    **each(optional(whole(1)), "embedding_size"),
    **each(optional(whole(0)), "loss_decimal_place", "frequency_groups", "save_last_step"),
    "eval_step": whole(-1),
    "seed": seed,
    "learning_rate": partial(real, above=0),
    "weight_decay": partial(real, minimum=0),
    "learner": one_of(*LEARNERS),
    "state": optional(one_of(*STATES)),
    "rm_dup_inter": optional(one_of("first", "last")),
    "gpu_id": _gpus,
    **each(word, "data_path", "checkpoint_dir", "wandb_project", "NEG_PREFIX", "LIST_SUFFIX"),
    **each(word, "USER_ID_FIELD", "ITEM_ID_FIELD"),
    **each(optional(word), "RATING_FIELD", "TIME_FIELD", "LABEL_FIELD"),
    **each(word, "field_separator", "seq_separator", "ITEM_LIST_LENGTH_FIELD", "POSITION_FIELD"),
    **each(word, "HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD", "RELATION_ID_FIELD"),
    **each(word, "ENTITY_ID_FIELD", "valid_metric"),
    **each(optional(_pickled), "dataset_save_path", "dataloaders_save_path"),
    **each(optional(word), "resume_file", "preset", "encoding"),
    "transform": optional(one_of(*TRANSFORMS)),
    **each(optional(interval), "user_inter_num_interval", "item_inter_num_interval"),
    **each(optional(interval), "entity_kg_num_interval", "relation_kg_num_interval"),
    "val_interval": optional(intervals),
    **each(optional(columns), "load_col", "unload_col", "unused_col"),
    **each(optional(names), "alias_of_user_id", "alias_of_item_id", "alias_of_entity_id"),
    **each(optional(names), "alias_of_relation_id", "normalize_field"),
    **each(optional(some_names), "additional_feat_suffix"),
    "benchmark_filename": optional(_parts),
    "numerical_features": names,
    **each(optional(table), "seq_len", "preload_weight", "discretization"),
    "threshold": optional(_threshold),
    "clip_grad_norm": _clipping,
    "metrics": metrics,
    "topk": cutoffs,
    "train_neg_sample_args": optional(negatives),
    "eval_args": evaluation,
}
