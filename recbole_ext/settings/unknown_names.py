"""A hyper-parameter that the model does not know, which RecBole passes over in silence."""

from __future__ import annotations

import difflib
import re
from functools import cache
from logging import getLogger

from recbole.config import Config

from recbole_ext.settings.reading import nearest
from recbole_ext.settings.yaml_files import PROPERTIES, recbole_folder

ALIKE = 0.85  # how much of two names must agree so that one is taken for a slip of the other

# Keys that RecBole or this package reads, but that are in no yaml of RecBole's.
# fmt: off
KEYS_WITHOUT_YAML = frozenset([
    "model", "dataset", "config_files", "config_file_list", "resume_file", "encoding", "device",
    "nproc", "ip", "port", "world_size", "offset", "local_rank", "single_spec", "neg_sampling",
    "training_neg_sample_num", "additional_feat_suffix", "benchmark_filename", "use_filter",
    "xgb_early_stopping_rounds", "token_num_threshold", "tail_ratio", "has_residual", "cin",
    "preset", "frequency_groups", "save_last_step", "contrast", "eta", "norm", "sim", "feature_num",
])
# fmt: on


def check_names(config: Config, model: str, strict: bool) -> None:
    """Warn of hyper-parameters that a model does not know, and refuse those that are misspelt.

    Options on the command line only cause a warning: RecBole reads the command line of the script
    that it runs in, and this script may have options of its own.

    Args:
        config: a ``Config`` whose internal and external settings are loaded.
        model: the model's name.
        strict: whether misspelt names are refused.

    Raises:
        ValueError: names the misspelt hyper-parameters and the nearest known ones.
    """
    known = {*config.internal_config_dict, *KEYS_WITHOUT_YAML}
    known.update(key for keys in config.parameters.values() for key in keys)
    given = {**config.file_config_dict, **config.variable_config_dict}
    refused = [key for key in given if strict and key not in known and _misspelt(key, known)]
    if refused:
        raise ValueError(_message(model, refused, known))
    unknown = [key for key in config.external_config_dict if key not in known]
    if unknown:
        getLogger().warning(_message(model, unknown, known))


def _misspelt(key: str, known: set[str]) -> bool:
    """Whether a key is nearly one that the model knows, and none of another model's."""
    return bool(difflib.get_close_matches(key, known, n=1, cutoff=ALIKE)) and key not in _anywhere()


@cache
def _anywhere() -> set[str]:
    """The keys of all models, RecBole's and ours: one yaml may serve several models."""
    folders = recbole_folder() / "properties", PROPERTIES
    texts = (path.read_text("utf-8") for folder in folders for path in folder.rglob("*.yaml"))
    return {key for text in texts for key in re.findall(r"^(\w+):", text, re.MULTILINE)}


def _message(model: str, keys: list[str], known: set[str]) -> str:
    unknown = ", ".join(repr(key) for key in keys)
    hints = "".join(f" {key}:{nearest(key, known)}" for key in keys if nearest(key, known))
    return f"{model} knows no hyper-parameter {unknown}." + (
        nearest(keys[0], known) if len(keys) == 1 else hints
    )
