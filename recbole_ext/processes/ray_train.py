"""Training on a Ray cluster: workers on any of its machines train as one.

Ray Train starts the workers, connects them and replaces those that die. After each validation the
first worker hands its files over to the machine that started the run, through Ray, so that the
machines need no common file system. Workers that come in place of others go on from these files.
Ray's own checkpoints would need such a file system, and are not used.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

from recbole_ext.processes.home import Home
from recbole_ext.processes.ray_cluster import (
    LOCAL,
    check_reachable,
    connect,
    most_of,
    present_token,
)
from recbole_ext.processes.ray_worker import train_on_worker

OLDEST = "2.50"  # from here on Ray Train can replace workers while the run is going on
FAILURES = 10  # so many times workers are replaced in one run
WORDS = ("auto", LOCAL)

# Takes settings of this worker's own and what hands over its files, and trains.
Work: TypeAlias = Callable[[dict[str, Any], Callable[[str], str]], dict[str, Any]]


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and how much of it a run takes.

    Attributes:
        address: ``auto``, ``local`` or ``host:port``.
        workers: the number of processes; each has a CPU, or a GPU and a CPU.
    """

    address: str
    workers: int

    @classmethod
    def asked_for(
        cls, address: str | None, workers: int | None, nproc: int, world_size: int
    ) -> Cluster:
        """Check what the arguments of a run ask for, before Ray is imported.

        Raises:
            ValueError: naming what does not go together or is out of range.
            ImportError: if Ray is missing or too old.
            ConnectionError: if nothing answers at the address.
        """
        if address is None:
            raise ValueError(
                f"num_workers: {workers} needs ray_address: auto, local or host:port; without Ray, "
                "nproc is the number of processes on this machine"
            )
        if nproc != 1 or world_size > 0:
            key, value = ("nproc", nproc) if nproc != 1 else ("world_size", world_size)
            raise ValueError(
                f"{key}: {value} is for processes without Ray, and ray_address: {address} is "
                f"given; leave one of them out, num_workers: {value} is the same on Ray"
            )
        workers = 1 if workers is None else workers
        if workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {workers}")
        _check_version(address)
        check_reachable(address, WORDS)
        return cls(address, workers)

    def gpus(self, gpu_id: Any) -> bool:
        """Whether each worker gets a GPU; the cluster that is connected must have room for all.

        Args:
            gpu_id: RecBole's setting; if it is empty, the run is for CPUs.

        Raises:
            ValueError: if there are more workers than GPUs or CPUs.
        """
        wanted = bool(str(gpu_id).strip()) and most_of("GPU")[0] > 0
        for name in ("GPU", "CPU") if wanted else ("CPU",):
            there, _ = most_of(name)
            if self.workers > there:
                or_not = ", or set gpu_id: '' to train on CPUs" if name == "GPU" else ""
                raise ValueError(
                    f"num_workers: {self.workers} workers need {self.workers} {name}s, and the "
                    f"cluster at {self.address} has {there:g}; lower num_workers, or add machines "
                    f"by `ray start --address=…`{or_not}"
                )
        return wanted


def run_on_ray(work: Work, cluster: Cluster, home: Home, gpu_id: Any = "") -> dict[str, Any]:
    """Do some work in all workers of a cluster, which share it.

    Args:
        work: a function that can be pickled.
        cluster: the cluster.
        home: the data and the files on this machine.
        gpu_id: RecBole's setting of the GPUs.

    Returns:
        The result of the first worker, with the checkpoint's path on this machine.

    Raises:
        ValueError: if there are more workers than GPUs or CPUs.
        ConnectionError: if the cluster cannot be joined.
        ChildProcessError: if workers died more often than they are replaced.
        Exception: the error of a worker, if one failed.
    """
    with _connected(cluster.address):
        import ray

        use_gpu = cluster.gpus(gpu_id)
        at_home = _actor(home)
        try:
            reason = _fit(work, cluster, at_home, use_gpu)
        except KeyboardInterrupt:
            if last := ray.get(at_home.ended.remote())[2]:
                go_on = f"to go on from the last state: resume_file={home.folder / last}"
                logging.getLogger().error(go_on)
            raise
        result, error, last = ray.get(at_home.ended.remote())
    if error is not None:
        raise error
    if result is None:
        go_on = f"go on with resume_file={home.folder / last}" if last else "nothing was kept"
        raise ChildProcessError(
            f"num_workers: the {cluster.workers} workers ended early {FAILURES + 1} times, and are "
            f"not replaced any more; {go_on} ({reason})"
        )
    saved = result["checkpoint"]
    return {**result, "checkpoint": saved and str(home.folder / Path(saved).name)}


def _fit(work: Work, cluster: Cluster, at_home: Any, use_gpu: bool) -> str:
    """Train; returns why workers ended that were not replaced any more."""
    from ray import train
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    with tempfile.TemporaryDirectory(prefix="recbole_ext-ray-") as folder, _interruptible():
        trainer = TorchTrainer(
            train_on_worker,
            train_loop_config={"work": work, "home": at_home, "use_gpu": use_gpu},
            torch_config=TorchConfig("cpu:gloo,cuda:nccl" if use_gpu else "gloo"),
            scaling_config=train.ScalingConfig(num_workers=cluster.workers, use_gpu=use_gpu),
            run_config=train.RunConfig(
                name="training",
                storage_path=folder,
                failure_config=train.FailureConfig(max_failures=FAILURES),
            ),
        )
        try:
            trainer.fit()
        except (ControllerError, WorkerGroupError) as error:
            return str(error).strip().splitlines()[-1].split(". ")[0]
    return ""


def _check_version(address: str) -> None:
    try:
        found = version("ray")
    except PackageNotFoundError:
        raise ImportError(
            f"ray_address: {address} needs the package ray, which is not installed: "
            f"pip install 'ray[train]>={OLDEST}'"
        ) from None
    if [int(part) for part in found.split(".")[:2]] < [int(part) for part in OLDEST.split(".")]:
        raise ImportError(
            f"ray_address: {address} needs ray {OLDEST} or newer, and {found} is installed: "
            f"pip install 'ray[train]>={OLDEST}', or use nproc and torchrun"
        )


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
    """Be part of a cluster in this block."""
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")  # the default of later versions
    if address != LOCAL:
        present_token()
    import ray

    try:
        connect(address, tell=True)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConnectionError(
            f"ray_address: the cluster at {address} cannot be joined ({reason}); start one by "
            "`ray start --head`, or add this machine to it by `ray start --address=…`"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _actor(home: Home) -> Any:
    """The home as workers reach it; it stays on this machine."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    places = {"data": home.data.absolute(), "folder": home.folder.absolute()}
    actor: Any = ray.remote(Home)
    placed = actor.options(num_cpus=0, scheduling_strategy=here)
    return placed.remote(**{**vars(home), **places})


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be a ``KeyboardInterrupt``, which Ray Train makes the end of the program."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
