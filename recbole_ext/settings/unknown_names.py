"""Catching a hyper-parameter that the model does not know, which RecBole passes over in silence."""

from __future__ import annotations

from logging import getLogger

from recbole.config import Config

from recbole_ext.settings.reading import Settings, nearest

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
    """Refuse hyper-parameters that a model does not know, or warn of them.

    Options on the command line only cause a warning: RecBole reads the command line of the script
    that it runs in, and this script may have options of its own.

    Args:
        config: a ``Config`` whose internal and external settings are loaded.
        model: the model's name.
        strict: whether unknown names are refused; otherwise they cause a warning.

    Raises:
        ValueError: names the unknown hyper-parameters and the nearest known ones.
    """
    known = {*config.internal_config_dict, *KEYS_WITHOUT_YAML}
    known.update(key for keys in config.parameters.values() for key in keys)
    given = {**config.file_config_dict, **config.variable_config_dict}
    refused = [key for key in given if key not in known]
    if refused and strict:
        raise ValueError(_message(model, refused, known))
    unknown = [key for key in config.external_config_dict if key not in known]
    if unknown:
        getLogger().warning(_message(model, unknown, known))


def check_valid_metric(settings: Settings) -> None:
    """Refuse a ``valid_metric`` that is not computed; RecBole only fails after the first epoch.

    Raises:
        ValueError: names the ``valid_metric`` and the metrics that are computed.
    """
    metrics, cutoffs = settings["metrics"], settings["topk"]
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    name, at, cutoff = str(settings["valid_metric"]).partition("@")
    values = cutoffs if isinstance(cutoffs, list | tuple) else [cutoffs]
    computed = not at or cutoff in {str(value) for value in values}
    if name.lower() not in {known.lower() for known in names} or not computed:
        raise ValueError(
            f"valid_metric: {settings['valid_metric']} is not computed: metrics are {names} at "
            f"topk: {values}"
        )


def _message(model: str, keys: list[str], known: set[str]) -> str:
    hints = " ".join(f"{key!r}.{nearest(key, known)}" for key in keys)
    return f"{model} knows no hyper-parameter {hints}"
