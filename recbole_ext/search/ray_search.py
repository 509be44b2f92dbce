"""A search on a Ray cluster, or on this machine as a cluster of one: many trials at once.

Trials are drawn before the search begins, so that a resumed search has the same ones. Each reports
every validation, and ASHA stops those that fall behind. A trial is written down where the search
was started, the moment it ends; a node that is lost takes with it only the trials it was running,
which are begun again elsewhere.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recbole_ext.search.journal import Journal, Trial
from recbole_ext.search.task import Task

SECONDS_TO_CONNECT = 5.0
RETRIES = 3  # of a trial whose node is lost
PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class Cluster:
    """Where trials run and what each is given.

    Attributes:
        address: ``host:port`` of a running cluster; ``None`` for this machine.
        cpus_per_trial: threads of a trial.
        gpus_per_trial: shares of GPUs; ``None`` for 1 where this machine has one, else 0.
        max_concurrent: the most trials at once; ``None`` for as many as there is room for.
        grace: validations before a trial may be stopped.
        most_validations: of a trial.
    """

    address: str | None
    cpus_per_trial: float
    gpus_per_trial: float | None
    max_concurrent: int | None
    grace: int
    most_validations: int

    @property
    def resources(self) -> dict[str, float]:
        """What Ray is asked for, for each trial."""
        gpus = self.gpus_per_trial
        if gpus is None:
            gpus = 1.0 if torch.cuda.is_available() else 0.0
        return {"cpu": self.cpus_per_trial, "gpu": gpus}


def search(
    task: Task,
    chosen: list[dict[str, Any]],
    journal: Journal,
    bigger: bool,
    cluster: Cluster,
    tell: Callable[[Trial], None],
) -> None:
    """Run the trials that the journal lacks.

    Args:
        task: what a trial trains.
        chosen: the hyper-parameters of all trials.
        journal: where they are written down.
        bigger: whether a bigger score is better.
        cluster: where they run.
        tell: is told each trial as it ends.

    Raises:
        ConnectionError: if the cluster cannot be reached.
    """
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    left = [settings for settings in chosen if journal.find(settings) is None]
    if not left:
        return
    _connect(cluster.address)
    threads = max(1, int(cluster.cpus_per_trial))
    with tempfile.TemporaryDirectory(prefix="recbole_ext-ray-") as folder:
        try:
            tune.run(
                tune.with_parameters(_run_trial, task=task, threads=threads),
                name="search",
                config={"chosen": tune.grid_search(left)},
                resources_per_trial=cluster.resources,
                max_concurrent_trials=cluster.max_concurrent,
                scheduler=ASHAScheduler(
                    metric="score",
                    mode="max" if bigger else "min",
                    max_t=max(cluster.most_validations + 1, cluster.grace),
                    grace_period=cluster.grace,
                    reduction_factor=2,
                ),
                callbacks=[_journal_callback(journal, bigger, tell)],
                max_failures=RETRIES,
                reuse_actors=False,  # a process whose trial was stopped may still be at it
                raise_on_failed_trial=False,
                storage_path=folder,
                verbose=0,
            )
        finally:
            ray.shutdown()


def _run_trial(config: dict[str, Any], task: Task, threads: int) -> None:
    """On a worker: report each validation, and at the end the trial."""
    from ray.air import session

    import recbole_ext  # noqa: F401 (registers the models in this process)

    sys.argv = sys.argv[:1]  # RecBole reads the command line
    torch.set_num_threads(threads)
    last = {"score": float("nan")}

    def report(epoch: int, score: float) -> None:
        last["score"] = score
        session.report({"score": score, "epoch": epoch})

    trial = task.train(config["chosen"], report)
    session.report({"score": last["score"], "trial": trial})


def _journal_callback(journal: Journal, bigger: bool, tell: Callable[[Trial], None]) -> Any:
    from ray.tune import Callback

    class JournalCallback(Callback):
        """Writes each trial down as it ends."""

        def __init__(self) -> None:
            self.scores: dict[str, list[float]] = {}

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: dict, **_: Any
        ) -> None:
            if "trial" not in result:
                self.scores.setdefault(trial.trial_id, []).append(result["score"])

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            ended = trial.last_result.get("trial")
            self._add(ended or self._unfinished(trial, "stopped"))

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            reason = "its process ended, or its node was lost, too often (out of memory?)"
            self._add(self._unfinished(trial, "failed", reason))

        def _unfinished(self, trial: Any, status: str, error: str | None = None) -> Trial:
            scores = self.scores.get(trial.trial_id, [])
            best = (max if bigger else min)(scores, default=None)
            seconds = float((trial.last_result or {}).get("time_total_s", 0.0))
            chosen = trial.config["chosen"]
            return Trial(chosen, status, best, len(scores), seconds=seconds, error=error)

        def _add(self, trial: Trial) -> None:
            journal.add(trial)
            tell(trial)

    return JournalCallback()


def _connect(address: str | None) -> None:
    """Join a cluster, or begin one on this machine."""
    import ray

    if address is not None:
        _check_reachable(address)
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    paths = [PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}}
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    ray.init(
        address=address,
        runtime_env=environment,
        log_to_driver=False,
        logging_level="ERROR",
        **local,
    )


def _check_reachable(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"--ray_address must be host:port, got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise ConnectionError(
            f"--ray_address: no Ray cluster answers at {address} ({error}); start one with "
            "`ray start --head`"
        ) from None
