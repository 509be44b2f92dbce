"""Starting the processes of one machine, and stopping all of them when one ends early."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from queue import Empty
from typing import Any, TypeAlias

import torch
import torch.multiprocessing as mp
from torch.multiprocessing.spawn import ProcessExitedException

from recbole_ext.processes.group import is_first
from recbole_ext.processes.joining import (
    Place,
    cpus,
    joined,
    joined_by_torchrun,
    lost_connection,
    port_number,
    started_by_torchrun,
    usable_gpus,
)
from recbole_ext.processes.quiet import keep_quiet
from recbole_ext.processes.ray_train import Cluster, Home, run_on_ray

__all__ = [
    "Cluster", "Home", "Place", "join_torchrun", "port_number", "run_on_ray", "run_together",
    "started_by_torchrun",
]  # fmt: skip

# Takes the settings of a process that differ from those of the others, and trains.
Work: TypeAlias = Callable[[dict[str, Any]], Any]
Answer: TypeAlias = tuple[int, Any, Exception | None]


def join_torchrun(work: Work) -> Any:
    """Do some work as one of the processes that ``torchrun`` has started.

    Returns:
        The result in the first process, ``None`` in the others.
    """
    with joined_by_torchrun():
        result = work({} if is_first() else keep_quiet())
        return result if is_first() else None


def run_together(work: Work, place: Place, gpu_id: Any = "") -> Any:
    """Do some work in all processes of this machine, which share it with those of other machines.

    Args:
        work: a function that can be pickled.
        place: where the processes are.
        gpu_id: RecBole's setting of the GPUs.

    Returns:
        The result of the first process; ``None`` on a machine without it.

    Raises:
        ValueError: if there are more processes than GPUs or CPUs.
        ChildProcessError: if a process was killed; the error names it and the signal.
        Exception: the error of a process, if one failed.
    """
    gpus = usable_gpus(gpu_id)
    place.check(gpus)
    answers = mp.get_context("spawn").Queue()
    started = mp.spawn(_begin, (work, place, gpus, answers), nprocs=place.nproc, join=False)
    found: list[Answer] = []
    try:
        while not started.join(timeout=0.2):
            found += _waiting(answers)
    except ProcessExitedException as error:
        found += _waiting(answers)
        _raise_first(found, started.processes, place, error)
    finally:
        for process in started.processes:
            if process.is_alive():
                process.kill()
    found += _waiting(answers)
    return next((result for rank, result, _ in found if rank == 0), None)


def _begin(here: int, work: Work, place: Place, gpus: list[str], answers: Any) -> None:
    """What a new process does; ``here`` is its number on this machine."""
    rank = place.group_offset + here
    # Without use_gpu: False RecBole asks for the memory of a GPU, if the machine has one.
    own: dict[str, Any] = {"gpu_id": gpus[here]} if gpus else {"gpu_id": "", "use_gpu": False}
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cpus() // place.nproc))
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[here]
    if rank > 0:
        own |= keep_quiet()
    try:
        with joined(place, rank):
            answer: Answer = (rank, work(own), None)
    except KeyboardInterrupt:
        raise SystemExit(1) from None  # the first program says that it was interrupted
    except Exception as error:
        answer = rank, None, error
    answers.put(answer)
    answers.close()
    answers.join_thread()
    if answer[2] is not None:
        raise SystemExit(1)


def _waiting(answers: Any) -> list[Answer]:
    found = []
    try:
        while True:
            found.append(answers.get(timeout=0.05))
    except Empty:
        return found


def _raise_first(found: list[Answer], processes: list[Any], place: Place, error: Exception) -> None:
    """Raise what ended the run: a signal, or the error of a process.

    The errors of the others follow from it: they have lost the connection.
    """
    total = place.world_size
    for here, process in enumerate(processes):
        code = process.exitcode or 0
        if code < 0 and code != -signal.SIGTERM:  # the others are ended by SIGTERM
            raise ChildProcessError(
                f"process {place.group_offset + here} of {total} was ended by "
                f"{signal.Signals(-code).name}, and the others were stopped; it may have needed "
                "more memory than there was"
            ) from None
    errors = [answer[2] for answer in found if answer[2] is not None]
    own = [e for e in errors if not lost_connection(e)]
    for first in [*own, *errors]:
        if first in own:
            raise first
        raise ConnectionError(f"another machine's process has ended: {first}") from first
    raise ChildProcessError(f"a process of {total} ended without a word: {error}") from error
