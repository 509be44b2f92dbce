"""A search with many trials at once, on a Ray cluster or on this machine as a cluster of one.

Trials are drawn before the search begins, so that a resumed search has the same ones. Each trial
reports every validation, and ASHA stops the trials that fall behind. The machine that started the
search writes each trial into the journal when it ends. A lost node costs only the trials that it
was running; they begin again on another node.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from recbole_ext.processes.ray_cluster import (
    LOCAL,
    check_reachable,
    connect,
    most_of,
    present_token,
)
from recbole_ext.tools.search.journal import Journal, Trial
from recbole_ext.tools.search.ray_versions import report as report_metrics
from recbole_ext.tools.search.task import Task

__all__ = ["Cluster", "check_reachable", "search"]

RETRIES = 3  # a trial begins again so many times if its node is lost
MOST_VALIDATIONS = 100_000  # ASHA needs a limit; a model's epochs and early stopping come first


@dataclass(frozen=True)
class Cluster:
    """The cluster and the resources of each trial.

    Attributes:
        address: ``host:port`` of a running cluster; ``None`` for this machine.
        cpus_per_trial: the number of threads of a trial.
        gpus_per_trial: the GPUs or the share of a GPU of a trial; ``None`` for 1 if there is one.
        max_concurrent: the maximum number of trials at once; ``None`` for what the cluster holds.
        grace: the number of validations before a trial may be stopped.
    """

    address: str | None
    cpus_per_trial: float
    gpus_per_trial: float | None
    max_concurrent: int | None
    grace: int

    @property
    def resources(self) -> dict[str, float]:
        """The resources that Ray reserves for each trial."""
        gpus = self.gpus_per_trial
        if gpus is None:
            gpus = 1.0 if torch.cuda.is_available() else 0.0
        return {"cpu": self.cpus_per_trial, "gpu": gpus}


def search(
    task: Task,
    chosen: list[dict[str, Any]],
    journal: Journal,
    cluster: Cluster,
    tell: Callable[[Trial], None],
) -> None:
    """Run the trials that the journal lacks.

    Args:
        task: the task that each trial trains.
        chosen: the hyper-parameters of all trials.
        journal: the journal, into which each trial is written.
        cluster: the cluster that runs the trials.
        tell: called with each trial when it ends.

    Raises:
        ConnectionError: if the cluster cannot be reached.
        ValueError: if no machine of the cluster has the resources of a trial.
        RuntimeError: if the search is interrupted.
    """
    if cluster.address:
        present_token()
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    left = [settings for settings in chosen if journal.find(settings) is None]
    if not left:
        return
    threads = max(1, int(cluster.cpus_per_trial))
    with tempfile.TemporaryDirectory(prefix="recbole_ext-ray-") as folder:
        try:
            _connect(cluster)
            tune.run(
                tune.with_parameters(_run_trial, task=task, threads=threads),
                name="search",
                config={"chosen": tune.grid_search(left)},
                resources_per_trial=cluster.resources,
                max_concurrent_trials=cluster.max_concurrent,
                scheduler=ASHAScheduler(
                    metric="score",
                    mode="max" if task.bigger else "min",
                    max_t=MOST_VALIDATIONS,
                    grace_period=cluster.grace,
                    reduction_factor=2,
                ),
                callbacks=[_journal_callback(journal, task.bigger, tell)],
                max_failures=RETRIES,
                reuse_actors=False,  # the process of a stopped trial may still be training
                raise_on_failed_trial=False,
                storage_path=folder,
                verbose=0,
            )
        finally:
            ray.shutdown()
    ended = sum(journal.find(settings) is not None for settings in chosen)
    if ended < len(chosen):  # Ray returns after an interruption as after the end
        raise RuntimeError(
            f"interrupted: {ended} of {len(chosen)} trials have ended; give --resume to go on"
        )


def _run_trial(config: dict[str, Any], task: Task, threads: int) -> None:
    """Train on a worker; it reports each validation, and at the end the trial."""
    import ray

    import recbole_ext  # noqa: F401 (registers the models in this process)

    sys.argv = sys.argv[:1]  # RecBole reads the command line
    torch.set_num_threads(threads)
    last = {"score": float("nan")}

    def report(epoch: int, score: float) -> None:
        last["score"] = score
        report_metrics({"score": score, "epoch": epoch})

    gpus = ",".join(str(gpu) for gpu in ray.get_gpu_ids())  # RecBole would take the first GPU
    given = {**config["chosen"], **({"gpu_id": gpus} if gpus else {})}
    trial = replace(task.train(given, report), settings=config["chosen"])
    report_metrics({"score": last["score"], "trial": trial})


def _journal_callback(journal: Journal, bigger: bool, tell: Callable[[Trial], None]) -> Any:
    from ray.tune import Callback

    class JournalCallback(Callback):
        """Writes each trial into the journal when it ends."""

        def __init__(self) -> None:
            self.scores: dict[str, list[float]] = {}

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            self.scores[trial.trial_id] = []  # a trial begins again if its node was lost

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: dict, **_: Any
        ) -> None:
            if "trial" not in result:
                self.scores.setdefault(trial.trial_id, []).append(result["score"])

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            ended = trial.last_result.get("trial")
            self._add(ended or self._unfinished(trial, "stopped"))

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            said = str(getattr(trial, "get_error", lambda: None)() or "").strip().splitlines()
            reason = f"its process ended {RETRIES + 1} times (out of memory?) {said[-1:]}"
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


def _connect(cluster: Cluster) -> None:
    """Join a cluster that has room for a trial, or start one on this machine."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    connect(cluster.address or LOCAL)
    for name, option in (("CPU", "cpus_per_trial"), ("GPU", "gpus_per_trial")):
        asked = cluster.resources[name.lower()]
        _, most = most_of(name)
        if asked > most:
            raise ValueError(f"--{option} is {asked:g}, but no machine has more than {most:g}")
