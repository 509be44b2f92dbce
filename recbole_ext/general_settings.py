"""RecBole's general settings, checked before any data is loaded.

RecBole itself reads most of them where they are used, and a wrong one ends in an error of torch,
pandas or numpy that names neither the key nor the value, or in nothing at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral
from typing import Any, TypeAlias

from recbole.evaluator.register import metric_types

from recbole_ext.hyperparameters import Settings, choice, flag, integer, nearest, real

Check: TypeAlias = Callable[[Settings, str], Any]

_INTERVALS = re.compile(r"\s*([\[(]\s*[^,;\s]+\s*,\s*[^,;\s]+\s*[\])]\s*;?\s*)+")
_MODE = re.compile(r"full|labeled|(uni|pop)[1-9]\d*")
_LEFT_OUT = ("valid_and_test", "valid_only", "test_only")
LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam")
STATES = ("debug", "info", "warning", "error", "critical")


def check_general(settings: Settings) -> None:
    """Refuse a general setting of RecBole's that is out of range.

    Raises:
        ValueError: naming the key, its value and what is allowed.
    """
    for key, check in CHECKS.items():
        check(settings, key)


def check_kinds(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse words, lists and flags where a yaml has a number.

    Raises:
        ValueError: naming the key and its value.
    """
    for key, value in given.items():
        default = defaults.get(key)
        if _is_number(default) and not _is_number(value):
            raise ValueError(f"{key} must be a number like its default {default}, got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _switch(settings: Settings, key: str) -> None:
    if settings[key] not in (0, 1):  # RecBole's users write 1 for True, too
        flag(settings, key)


def _whole(minimum: int) -> Check:
    return partial(integer, minimum=minimum)


def _seed(settings: Settings, key: str) -> None:
    if integer(settings, key, minimum=0) >= 2**32:
        raise ValueError(f"{key} must be below 2**32, got {settings[key]!r}")


def _word(settings: Settings, key: str) -> None:
    if not isinstance(settings[key], str | os.PathLike) or not str(settings[key]):
        raise ValueError(f"{key} must be a word, got {settings[key]!r}")


def _of(*allowed: str) -> Check:
    def one_of(settings: Settings, key: str) -> None:
        value = settings[key]
        choice({key: value.lower() if isinstance(value, str) else value}, key, allowed)

    return one_of


def _table(settings: Settings, key: str) -> None:
    if not isinstance(settings[key], dict):
        raise ValueError(f"{key} must be a dictionary, got {settings[key]!r}")


def _columns(settings: Settings, key: str) -> None:
    _table(settings, key)
    for file, columns in settings[key].items():
        if columns != "*" and columns is not None and not _are_words(columns):
            raise ValueError(f"{key}: {file} must be a list of columns or '*', got {columns!r}")


def _names(settings: Settings, key: str) -> None:
    if not _are_words(settings[key]):
        raise ValueError(f"{key} must be a list of names, got {settings[key]!r}")


def _are_words(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)


def _interval(settings: Settings, key: str) -> None:
    value = settings[key]  # [20,25] on a command line is a list, which RecBole writes as text again
    text = str(value) if isinstance(value, str | list | tuple) else ""
    if not _INTERVALS.fullmatch(text) or not _ends(text):
        raise ValueError(f"{key} must be an interval such as [5,inf) or (0,1], got {value!r}")


def _ends(intervals: str) -> bool:
    try:
        return bool([float(end) for end in re.findall(r"[^\[\](),;\s]+", intervals)])
    except ValueError:
        return False


def _intervals(settings: Settings, key: str) -> None:
    _table(settings, key)
    for field, interval in settings[key].items():
        _interval({f"{key}: {field}": interval}, f"{key}: {field}")


def _metrics(settings: Settings, key: str) -> None:
    names = settings[key]
    names = [names] if isinstance(names, str) else names
    if not _are_words(names) or not names:
        raise ValueError(f"{key} must be a list of metrics, got {settings[key]!r}")
    for name in names:
        if name.lower() not in metric_types:
            raise ValueError(f"{key}: there is no metric {name!r}.{nearest(name, metric_types)}")


def _cutoffs(settings: Settings, key: str) -> None:
    cutoffs = settings[key]
    for cutoff in cutoffs if isinstance(cutoffs, list | tuple) and cutoffs else [cutoffs]:
        integer({key: cutoff}, key, minimum=1)


def _negatives(settings: Settings, key: str) -> None:
    _table(settings, key)
    _entries(
        settings[key],
        key,
        {
            "distribution": _of("uniform", "popularity", "none"),
            "sample_num": _number_of_negatives,
            "alpha": partial(real, minimum=0),
            "dynamic": _switch,
            "candidate_num": _whole(0),
        },
    )


def _number_of_negatives(settings: Settings, key: str) -> None:
    if settings[key] != "none":  # as in RecBole's documentation, for no negatives
        integer(settings, key, minimum=1)


def _evaluation(settings: Settings, key: str) -> None:
    _table(settings, key)
    _entries(
        settings[key],
        key,
        {
            "split": _split,
            "order": _of("ro", "to"),
            "group_by": _optional(_of("user", "none")),
            "mode": _modes,
        },
    )


def _entries(table: dict[str, Any], key: str, checks: dict[str, Check]) -> None:
    """Check a table's values; the message names the table as well."""
    for name, value in table.items():
        if name not in checks:
            raise ValueError(f"{key} has no {name!r}.{nearest(str(name), checks)}")
        named = f"{key}.{name}"
        checks[name]({named: value}, named)


def _split(settings: Settings, key: str) -> None:
    value = settings[key]
    if isinstance(value, dict) and len(value) == 1:
        (kind, how), *_ = value.items()
        if kind == "LS" and how in _LEFT_OUT:
            return
        is_list = isinstance(how, list | tuple) and len(how) > 0
        if kind == "RS" and is_list and all(_is_number(n) and n >= 0 for n in how) and sum(how):
            return
    raise ValueError(
        f"{key} must be RS: with three ratios, such as [0.8, 0.1, 0.1], or LS: with "
        f"{', '.join(_LEFT_OUT)}; got {value!r}"
    )


def _modes(settings: Settings, key: str) -> None:
    value = settings[key]
    if isinstance(value, dict) and value and set(value) <= {"valid", "test"}:
        modes = list(value.values())
    else:
        modes = [value]
    for mode in modes:
        if not isinstance(mode, str) or not _MODE.fullmatch(mode):
            raise ValueError(f"{key} must be full, labeled, uniN or popN, got {mode!r}")


def _gpus(settings: Settings, key: str) -> None:
    value = settings[key]
    if isinstance(value, bool) or not isinstance(value, Integral | str):
        raise ValueError(f"{key} must be the number of a GPU, such as 0 or '0,1', got {value!r}")


def _pickled(settings: Settings, key: str) -> None:
    raise ValueError(
        f"{key} must be empty, got {settings[key]!r}: a pickled data set can run any code that is "
        "hidden in it, and is not read"
    )


def _optional(check: Check) -> Check:
    def check_if_given(settings: Settings, key: str) -> None:
        if settings[key] is not None:
            check(settings, key)

    return check_if_given


def _each(check: Check, *keys: str) -> dict[str, Check]:
    return dict.fromkeys(keys, check)


CHECKS: dict[str, Check] = {
    **_each(_switch, "use_gpu", "reproducibility", "show_progress", "save_dataset", "log_wandb"),
    **_each(_switch, "save_dataloaders", "shuffle", "require_pow", "repeatable", "kg_reverse_r"),
    **_each(_switch, "enable_amp", "enable_scaler", "filter_inter_by_user_or_item"),
    **_each(_optional(_switch), "normalize_all"),
    **_each(_whole(0), "worker", "epochs", "stopping_step", "metric_decimal_place"),
    **_each(_whole(1), "train_batch_size", "eval_batch_size", "MAX_ITEM_LIST_LENGTH"),
    **_each(_optional(_whole(1)), "embedding_size"),
    **_each(_optional(_whole(0)), "loss_decimal_place", "frequency_groups", "save_last_step"),
    "eval_step": _whole(-1),
    "seed": _seed,
    "learning_rate": partial(real, above=0),
    "weight_decay": partial(real, minimum=0),
    "learner": _of(*LEARNERS),
    "state": _optional(_of(*STATES)),
    "rm_dup_inter": _optional(_of("first", "last")),
    "gpu_id": _gpus,
    **_each(_word, "data_path", "checkpoint_dir", "wandb_project", "NEG_PREFIX", "LIST_SUFFIX"),
    **_each(_word, "USER_ID_FIELD", "ITEM_ID_FIELD", "RATING_FIELD", "TIME_FIELD", "LABEL_FIELD"),
    **_each(_word, "field_separator", "seq_separator", "ITEM_LIST_LENGTH_FIELD", "POSITION_FIELD"),
    **_each(_word, "HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD", "RELATION_ID_FIELD"),
    **_each(_word, "ENTITY_ID_FIELD", "valid_metric"),
    **_each(_optional(_pickled), "dataset_save_path", "dataloaders_save_path"),
    **_each(_optional(_word), "transform", "resume_file", "preset"),
    **_each(_optional(_interval), "user_inter_num_interval", "item_inter_num_interval"),
    **_each(_optional(_interval), "entity_kg_num_interval", "relation_kg_num_interval"),
    "val_interval": _optional(_intervals),
    **_each(_optional(_columns), "load_col", "unload_col", "unused_col"),
    **_each(_optional(_names), "alias_of_user_id", "alias_of_item_id", "alias_of_entity_id"),
    **_each(_optional(_names), "alias_of_relation_id", "normalize_field", "numerical_features"),
    **_each(_optional(_names), "benchmark_filename"),
    **_each(_optional(_table), "threshold", "seq_len", "preload_weight", "discretization"),
    "metrics": _metrics,
    "topk": _cutoffs,
    "train_neg_sample_args": _optional(_negatives),
    "eval_args": _evaluation,
}
