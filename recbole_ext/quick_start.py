"""RecBole's quick-start functions, with the plugin loaded.

The functions take RecBole's arguments and return RecBole's results. They are defined in this
package, so that a new process (Ray, ``spawn``) that unpickles one of them loads the plugin too.
RecBole's quick start imports Ray, which takes seconds. It is therefore imported only when a
function is called and its arguments have been checked.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config

from recbole_ext.processes import launching
from recbole_ext.processes.alike import check_settings
from recbole_ext.runs.checkpoint import load_checkpoint, replacing
from recbole_ext.runs.loading import load_run
from recbole_ext.runs.run_state import Keeper, Listener, RunState, running
from recbole_ext.seams.judging import check_run

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
    ray_address: str | None = None,
    num_workers: int | None = None,
) -> Settings | None:
    """Train, validate and test a model in one process, or in several that share its batches.

    The arguments are those of ``recbole.quick_start.run``. Several processes train the model of
    one process with the same ``train_batch_size``. They use a GPU each, or the CPU. A program that
    ``torchrun`` has started several times joins the others by itself.

    With ``ray_address`` (``auto``, ``local`` or ``host:port``) ``num_workers`` processes train on a
    Ray cluster, by default one. Those that die are replaced.

    Returns:
        The result of :func:`run_recbole`; ``None`` in a program that has no first process.

    Raises:
        ValueError: in the cases of :func:`run_recbole`, if there are more processes than GPUs or
            CPUs, or if the processes differ in settings or data.
        ConnectionError: if the processes of other machines do not come, or no cluster answers.
        ChildProcessError: if a process is killed, on a cluster again and again.
        ImportError: if Ray is missing or too old.
    """
    settings = PluginSettings(copy.deepcopy(config_dict or {}))
    if ray_address is not None or num_workers is not None:
        cluster = launching.Cluster.asked_for(ray_address, num_workers, nproc, world_size)
        config = checked_config(model, dataset, config_file_list, settings)
        return _run_on_ray(cluster, config, partial(_train_share, model, dataset, None), saved)
    work = partial(_train_share, model, dataset, config_file_list, settings, saved)
    if launching.started_by_torchrun():
        return launching.join_torchrun(work)
    if nproc == 1 and world_size <= 0:
        return run_recbole(model, dataset, config_file_list, config_dict, saved)
    config = checked_config(model, dataset, config_file_list, settings)
    total = nproc if world_size == -1 else world_size
    place = launching.Place(nproc, total, ip, launching.port_number(port), group_offset)
    return launching.run_together(work, place, config["gpu_id"])


def _train_share(
    model: str | None,
    dataset: str | None,
    config_file_list: list[str] | None,
    settings: Settings,
    saved: bool,
    own: Settings,
    keeper: Keeper | None = None,
) -> Settings:
    """Train as one of several processes, with settings of this process's own."""
    settings = PluginSettings({**settings, **own})
    config = checked_config(model, dataset, config_file_list, settings)
    check_settings(config.final_config_dict)
    return train(model, dataset, config_file_list, settings, saved, keeper=keeper)


def _run_on_ray(
    cluster: launching.Cluster, config: Config, train_share: Callable[..., Settings], saved: bool
) -> Settings:
    """Train on a cluster with the settings, the data and the files of this machine."""
    given = dict(config.external_config_dict)
    home = launching.Home(Path(config["data_path"]), Path(config["checkpoint_dir"]), replacing)
    if resume_file := given.pop("resume_file", None):
        best = load_checkpoint(resume_file, "cpu").get("best_file", Path(resume_file).name)
        home.go_on_from(Path(resume_file), best)
    work = partial(train_share, given, saved)
    return launching.run_on_ray(work, cluster, home, config["gpu_id"])


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
        config_dict: hyper-parameters, which override those of the files.
        saved: whether to keep the best epoch in a checkpoint.
        queue: a queue that gets the result too, for multi-processing.

    Returns:
        RecBole's result (``best_valid_score``, ``valid_score_bigger``, ``best_valid_result``,
        ``test_result``) with more keys: ``checkpoint`` (a path or ``None``), ``seconds`` by phase
        and the validation ``curve``. If they were computed, ``frequency_groups`` holds the test
        metrics by group, and ``scenarios`` those of a cold-start model and of its baselines.

    Raises:
        ValueError: if a model or hyper-parameter is unknown, or a value is out of range.
        FileNotFoundError: if a dataset or file is missing.
    """
    return train(model, dataset, config_file_list, config_dict, saved, queue)


def train(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: list[str] | None = None,
    config_dict: Settings | None = None,
    saved: bool = True,
    queue: Any = None,
    listener: Listener | None = None,
    keeper: Keeper | None = None,
) -> Settings:
    """Do the same as :func:`run_recbole`, for a ``listener`` and a ``keeper`` of ``RunState``."""
    with running(saved, listener, keeper) as state, denormals_as_zero():
        settings = copy.deepcopy(config_dict or {})  # RecBole changes the dictionary
        checked_config(model, dataset, config_file_list, settings)
        from recbole.quick_start import run_recbole

        with naming_last(state):
            result = run_recbole(model, dataset, config_file_list, settings, saved, queue)
    return {**result, **_known_besides(state, saved)}


def _known_besides(state: RunState, saved: bool) -> Settings:
    """The entries of a run's result that RecBole does not return."""
    besides: Settings = {
        "checkpoint": state.checkpoint if saved else None,
        "seconds": state.clock.seconds,
        "curve": state.curve,
    }
    by_group = {"frequency_groups": state.frequency_groups, "scenarios": state.scenarios}
    return besides | {name: rows for name, rows in by_group.items() if rows is not None}


@contextlib.contextmanager
def naming_last(state: RunState) -> Iterator[None]:
    """Log which file an interrupted or failed run can be resumed from."""
    try:
        yield
    except BaseException:
        if state.last:
            logging.getLogger().error(f"to go on from the last state: resume_file={state.last}")
        raise


@contextlib.contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Treat numbers below 1e-38 as 0 on a CPU, because they make it several times slower.

    Weight decay shrinks the weights of dead units to such numbers. They made ResNetMF's last epochs
    four times slower.
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
    """Build a ``Config`` silently and check all its settings, before Ray is imported.

    RecBole builds it once more, and then logs its warnings.
    """
    before = logging.root.manager.disable
    anomalies = torch.is_anomaly_enabled()
    logging.disable(max(before, logging.WARNING))
    try:
        config = Config(model, dataset, files, copy.deepcopy(settings))
        check_run(config)
        return config
    finally:
        logging.disable(before)
        # Importing RecBole's SINE turns the detection on, which slows all training down.
        torch.autograd.set_detect_anomaly(anomalies)


def objective_function(
    config_dict: Settings | None = None,
    config_file_list: list[str] | None = None,
    saved: bool = True,
) -> Settings:
    """Train a model for RecBole's ``HyperTuning``, as RecBole's function of this name does."""
    from recbole.quick_start import objective_function

    return objective_function(config_dict, config_file_list, saved)


def load_data_and_model(model_file: str | Path) -> tuple:
    """Load the model and the data of a checkpoint, with a clear error for a damaged file.

    They load on the CPU if the machine lacks the GPU of the training.

    Args:
        model_file: a checkpoint of any model.

    Returns:
        config, model, dataset, train_data, valid_data, test_data.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is truncated, is no checkpoint, or is not safe to load.
    """
    return load_run(model_file)
