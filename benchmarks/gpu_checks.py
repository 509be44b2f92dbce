"""Checks on a GPU: each job has a process of its own, so that a failure or a crash stays its own.

The parent process never uses CUDA, because a process that has used it must not be forked.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import torch

# Without it torch would use CUDA to count the GPUs, and could no longer fork.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
CPU: dict[str, Any] = {"gpu_id": "", "use_gpu": False}
NO_CUDA = "no CUDA device"


class Skipped(Exception):  # noqa: N818 (it is no error)
    """What cannot be done here; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where checks run.

    Attributes:
        gpus: the names of the GPUs; without any the CPU takes the place of the GPU.
        folder: the folder of all files.
        quick: whether sizes are small.
    """

    gpus: tuple[str, ...]
    folder: Path
    quick: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a run on the GPU, or in its place."""
        return {"gpu_id": "0"} if self.gpus else CPU

    def wait(self) -> None:
        """Wait until the GPU has done what it was given."""
        if self.gpus:
            torch.cuda.synchronize()


@dataclass(frozen=True)
class Measured:
    """What a check has measured: in words, and the figures of a benchmark."""

    text: str
    figures: dict[str, Any] = field(default_factory=dict)


Check: TypeAlias = Callable[[], Measured | str]


@dataclass(frozen=True)
class Job:
    """Checks that run one after another in one process.

    Attributes:
        part: the part of the script.
        name: what the first word of the checks' names is.
        checks: yields the name of a check and a function, which raises if the check fails.
        hidden: whether the process sees no GPU.
    """

    part: str
    name: str
    checks: Callable[[Place], Iterator[tuple[str, Check]]]
    hidden: bool = False


@dataclass(frozen=True)
class Row:
    """The outcome of a check."""

    part: str
    name: str
    result: str
    measured: str
    seconds: float
    figures: dict[str, Any] = field(default_factory=dict)
    trace: str = ""


def run(job: Job, place: Place, seconds: float) -> Iterator[Row]:
    """Run a job in a forked process, which ends after so many seconds; yields a row a check."""
    begun = time.perf_counter()
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_in_child, args=(job, place, there))
    process.start()
    there.close()
    left = seconds
    try:
        while here.poll(max(left, 0)):
            row = here.recv()
            if row is None:
                return
            yield row
            left = seconds - (time.perf_counter() - begun)
        found = f"took more than {seconds:.0f} s"
    except EOFError:
        process.join()
        found = f"its process ended with status {process.exitcode}"
    finally:
        if process.is_alive():
            process.join(1)
            process.kill()
        process.join()
    yield Row(job.part, job.name, FAILED, found, time.perf_counter() - begun)


def _in_child(job: Job, place: Place, there: Connection) -> None:
    if job.hidden:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    torch.set_num_threads(threads)
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        for stream in (1, 2):  # RecBole's own output
            os.dup2(nothing.fileno(), stream)
    os.chdir(place.folder)
    if place.gpus and not job.hidden:
        torch.cuda.init()  # before RecBole hides the GPU from a run on the CPU
        torch.cuda.device_count()
    checks = job.checks(place)
    ended = False
    while not ended:
        begun, name = time.perf_counter(), ""
        result, said, figures, trace = PASSED, "", {}, ""
        try:
            found = next(checks, None)
            if found is None:
                break
            name, check = found
            measured = check()
            said = measured if isinstance(measured, str) else measured.text
            figures = {} if isinstance(measured, str) else measured.figures
        except Skipped as reason:
            result, said, ended = SKIPPED, str(reason), not name
        except BaseException as error:
            result, said, ended = FAILED, _in_one_line(error), not name
            trace = traceback.format_exc()
        label = f"{job.name}{': ' if name else ''}{name}"
        seconds = time.perf_counter() - begun
        there.send(Row(job.part, label, result, said, seconds, figures, trace))
    there.send(None)


def _in_one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def found_here(place: Place) -> Iterator[tuple[str, Check]]:
    """The names of the GPUs, asked for in a process of its own."""

    def look() -> Measured:
        there = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
        names = [torch.cuda.get_device_name(at) for at in there]
        said = ", ".join(names) or NO_CUDA
        return Measured(said, {"gpus": names})

    yield "", look
