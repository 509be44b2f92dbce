"""Time cases on a noisy machine: the cases are repeated in turns, and medians are compared."""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch

from recbole_ext.runs.machine import machine

torch.set_num_threads(1)  # a process that has had several threads of torch must not be forked

T = TypeVar("T")
Seconds = dict[str, list[float]]


def arguments(description: str | None, **more: Any) -> argparse.Namespace:
    """Read the options that all benchmarks share: ``--quick``, ``--json``, ``--repetitions``."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one thread, fewer repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write ratios and raw numbers")
    parser.add_argument("--repetitions", type=int, metavar="N", help="repetitions of each case")
    for name, options in more.items():
        parser.add_argument(f"--{name}", **options)
    given = parser.parse_args()
    sys.argv = sys.argv[:1]  # RecBole reads the command line
    return given


def interleaved(
    cases: Mapping[str, Callable[[], Any]], repetitions: int, calls: int = 1
) -> Seconds:
    """The seconds of a call: cases take turns of ``calls`` calls, and the first turn is dropped."""
    seconds: Seconds = {name: [] for name in cases}
    for at in range(-1, repetitions):
        for name, call in cases.items():
            begun = time.perf_counter()
            for _ in range(calls):
                call()
            if at >= 0:
                seconds[name].append((time.perf_counter() - begun) / calls)
    return seconds


def ratio(over: list[float], under: list[float]) -> float:
    """The median over the turns of one case's time divided by another's."""
    return median(a / b for a, b in zip(over, under, strict=True))


def thread_counts(quick: bool) -> list[int]:
    """The numbers of threads to try: 1 and, unless quick, all."""
    return sorted({1} if quick else {1, os.cpu_count() or 1})


def apart(threads: int, function: Callable[..., T], *given: Any) -> tuple[T, float]:
    """Call a function in a forked process.

    Returns:
        The function's result, and the largest memory of the process in MB.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(there, threads, function, given))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        raise SystemExit(f"{function.__name__} failed; its error stands above") from None
    finally:
        process.join()


def _measure(there: Connection, threads: int, function: Callable, given: tuple) -> None:
    torch.set_num_threads(threads)
    there.send((function(*given), most_memory()))


def most_memory() -> float:
    """The largest memory of this process so far, in MB."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None, "peak memory is read from Linux's /proc"
    return int(peak[1]) / 1000


def forget_peak() -> None:
    """Reset the process's largest memory to its present one, if Linux allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def write(path: Path | None, ratios: dict[str, float], raw: Any) -> None:
    """Write the ratios by their names, the raw numbers and the machine."""
    if path is not None:
        content = {**ratios, "raw": raw, "machine": machine()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
