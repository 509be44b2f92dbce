"""RecBole's quick start with the plugin loaded: same arguments, same results.

These are functions of this package, not names imported from RecBole, so that a fresh process (Ray,
``spawn``) that unpickles one of them loads the plugin with it. RecBole's own quick start imports
Ray, which takes seconds; it is imported when a function is called, after its arguments are checked.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config

from recbole_ext.checkpoint import load_checkpoint
from recbole_ext.recording import Recording, recording
from recbole_ext.registry import trainer_of

Settings = dict[str, Any]


class PluginSettings(dict):
    """A ``config_dict`` that loads the plugin in the process that unpickles it."""


def run(
    model: str | None,
    dataset: str | None,
    config_file_list: list[str] | None = None,
    config_dict: Settings | None = None,
    saved: bool = True,
    nproc: int = 1,
    world_size: int = -1,
    ip: str = "localhost",
    port: str = "5678",
    group_offset: int = 0,
) -> Settings | None:
    """``recbole.quick_start.run``: one process, or one for each GPU; same arguments.

    Raises:
        ValueError: as :func:`run_recbole`, and for more processes than there are GPUs, or for a
            model that trains in one.
    """
    if nproc == 1 and world_size <= 0:
        return run_recbole(model, dataset, config_file_list, config_dict, saved)
    settings = PluginSettings(copy.deepcopy(config_dict or {}))
    config = checked_config(model, dataset, config_file_list, settings)
    if getattr(trainer_of(config), "one_process", False):
        raise ValueError(f"nproc must be 1, got {nproc}: {config['model']} trains in one process")
    named, seen = str(config["gpu_id"]).split(","), torch.cuda.device_count()
    if min(len(named), seen) < nproc:  # RecBole: NCCL, a GPU a process
        raise ValueError(
            f"nproc: {nproc} processes need {nproc} GPUs: gpu_id is {config['gpu_id']!r}, and "
            f"torch sees {seen} of them"
        )
    from recbole.quick_start import run

    return run(
        model, dataset, config_file_list, settings, saved, nproc, world_size, ip, port, group_offset
    )


def run_recbole(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: list[str] | None = None,
    config_dict: Settings | None = None,
    saved: bool = True,
    queue: Any = None,
) -> Settings:
    """Train, validate and test a model on a dataset.

    Args:
        model: a model's name, ours or RecBole's.
        dataset: a dataset's name.
        config_file_list: yaml files.
        config_dict: hyper-parameters; they win over the files.
        saved: whether to keep the best epoch in a checkpoint.
        queue: where to put the result as well, for multi-processing.

    Returns:
        RecBole's result (``best_valid_score``, ``valid_score_bigger``, ``best_valid_result``,
        ``test_result``) and, besides, ``checkpoint`` (a path or ``None``), ``seconds`` by phase,
        the validation ``curve`` and, where there are any, the test's metrics by
        ``frequency_groups`` and, of a cold-start model, by ``scenarios`` beside the baselines'.

    Raises:
        ValueError: for an unknown model or hyper-parameter, or a value out of range.
        FileNotFoundError: for a missing dataset or file.
    """
    with recording(saved) as record, denormals_as_zero():
        settings = copy.deepcopy(config_dict or {})  # RecBole changes what it is given
        if "local_rank" not in settings:  # one of several processes: the first has checked
            checked_config(model, dataset, config_file_list, settings)
        from recbole.quick_start import run_recbole

        with naming_last(record):
            result = run_recbole(model, dataset, config_file_list, settings, saved, queue)
    checkpoint = record.checkpoint if saved else None
    ours: Settings = {
        "checkpoint": checkpoint,
        "seconds": record.seconds,
        "curve": record.curve,
    }
    for name in ("frequency_groups", "scenarios"):
        if getattr(record, name) is not None:
            ours[name] = getattr(record, name)
    return {**result, **ours}


@contextlib.contextmanager
def naming_last(record: Recording) -> Iterator[None]:
    """Where a run is interrupted or fails, log from where it can go on."""
    try:
        yield
    except BaseException:
        if record.last:
            logging.getLogger().error(f"to go on from the last state: resume_file={record.last}")
        raise


@contextlib.contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Count numbers below 1e-38 as 0 on a CPU, which is several times slower with them.

    Weight decay takes the weights of dead units there (ResNetMF's last epochs: four times slower).
    """
    before = bool(torch.tensor(1e-40) * 1.0 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def checked_config(
    model: str | None, dataset: str | None, files: list[str] | None, settings: Settings
) -> Config:
    """Raise what ``Config`` raises, before Ray is imported; its warnings come when RecBole asks."""
    before = logging.root.manager.disable
    anomalies = torch.is_anomaly_enabled()
    logging.disable(max(before, logging.WARNING))
    try:
        return Config(model, dataset, files, copy.deepcopy(settings))
    finally:
        logging.disable(before)
        # RecBole's SINE turns it on where it is imported, and makes all training slow.
        torch.autograd.set_detect_anomaly(anomalies)


def objective_function(
    config_dict: Settings | None = None,
    config_file_list: list[str] | None = None,
    saved: bool = True,
) -> Settings:
    """``recbole.quick_start.objective_function``, for ``HyperTuning``."""
    from recbole.quick_start import objective_function

    return objective_function(config_dict, config_file_list, saved)


def load_data_and_model(model_file: str | Path) -> tuple:
    """``recbole.quick_start.load_data_and_model``, with a clear error for a damaged file.

    Args:
        model_file: a checkpoint of any model.

    Returns:
        config, model, dataset, train_data, valid_data, test_data.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is truncated, no checkpoint, or not safe to load.
    """
    checkpoint = load_checkpoint(model_file, "cpu")
    # RecBole's loaders and metrics use names of old numpy, which only a new Config brings back.
    checkpoint["config"].compatibility_settings()
    from recbole.quick_start import load_data_and_model

    return load_data_and_model(str(model_file))
