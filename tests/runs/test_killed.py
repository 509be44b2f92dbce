"""Real processes that are killed (SIGKILL) or run out of disk, and what they end with after all.

Each is forked, trains through ``run_recbole``, and is killed at a random moment or while it writes
a file. It then goes on from its last state, in a new process, and must end like one that was left
alone: the same parameters, optimisers, memories, random state, metrics and learning curve.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import psutil
import pytest

from recbole_ext import run_recbole
from recbole_ext.runs import checkpoint
from recbole_ext.runs.learning_curve import curve_file, read_curve
from tests.worlds.cold_world import noisy, write_cold_world
from tests.worlds.helpers import LAMBDA, QUICK, same, state_of_training
from tests.worlds.rated_world import write_ratings

FORK = multiprocessing.get_context("fork")
EPOCHS = 6
Step = Callable[[], None]


def lambdaoptmf(folder: Path, **settings: Any) -> dict[str, Any]:
    short = {"train_batch_size": 8, "lambda_epochs": 2, "lambda_steps": 0}
    return {**write_ratings(folder, lambda u, i: 1.0), **short, **settings}


def cold(folder: Path, **settings: Any) -> dict[str, Any]:
    return {**write_cold_world(folder / "data", noisy), "train_batch_size": 4, **settings}


RUNS: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "LambdaOptMF": ("LambdaOptMF", lambdaoptmf),
    "LambdaOptMF, a λ a row": ("LambdaOptMF", lambda f: lambdaoptmf(f, **LAMBDA, lambda_epochs=0)),
    "MeLU": ("MeLU", cold),
    "MAMO": ("MAMO", lambda f: cold(f, preset="paper")),
    "ResNetMF": ("ResNetMF", lambda f: write_ratings(f, lambda u, i: 1 + (u * 7 + i * 3) % 5)),
}


class Killable:
    """A run in a folder of its own, one process after another."""

    def __init__(self, folder: Path, model: str, settings: dict[str, Any]) -> None:
        folder.mkdir()
        self.folder, self.model = folder, model
        self.errors = FORK.SimpleQueue()  # a pipe, which a full disk does not touch
        quick = {**QUICK, "epochs": EPOCHS, "stopping_step": 3, "save_last_step": 1}
        self.settings = {**settings, **quick, "checkpoint_dir": str(folder / "saved")}

    def start(self, before: Step | None = None) -> ForkProcess:
        """Begin, or go on from the last state there is."""
        process = FORK.Process(target=self._train, args=(before,))
        process.start()
        return process

    def finish(self) -> dict[str, Any]:
        """Run to the end; what it ended with."""
        process = self.start()
        process.join()
        assert process.exitcode == 0
        return self.ended_with()

    def last(self) -> Path | None:
        found = (self.folder / "saved").glob("*-last.pth")
        return max(found, key=lambda file: file.stat().st_mtime_ns, default=None)

    def ended_with(self) -> dict[str, Any]:
        result = json.loads((self.folder / "result.json").read_text())
        best = Path(result.pop("checkpoint"))
        curve = [{**point, "seconds": None} for point in read_curve(curve_file(best))]
        left = [file.name for file in best.parent.glob(f".{best.stem}*")]
        return {
            "best": state_of_training(best),
            "last": state_of_training(checkpoint.last_file(best)),
            "curve": json.dumps(curve),
            "result": result,
            "unfinished files": left,
        }

    def _train(self, before: Step | None) -> None:
        os.chdir(self.folder)
        psutil.cpu_percent = lambda interval: 0.0  # for which RecBole waits a second
        last = self.last()
        if before is not None:
            before()
        settings = {**self.settings, "resume_file": str(last) if last else None}
        try:
            result = run_recbole(self.model, config_dict=settings)
        except OSError as error:
            self.errors.put(str(error))
            raise
        kept = ("best_valid_score", "best_valid_result", "test_result", "checkpoint")
        (self.folder / "result.json").write_text(json.dumps({key: result[key] for key in kept}))


def killed_at(call: str, number: int, done: bool = False) -> Step:
    """Kills the process at the so-many-th call of ``os.fsync`` or ``os.replace``, or after it."""

    def prepare() -> None:
        original, calls = getattr(os, call), iter(range(1, 1000))

        def call_or_die(*args: Any) -> Any:
            dies = next(calls) == number
            if dies and not done:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args)
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(os, call, call_or_die)

    return prepare


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Bit for bit; the message names the parts that differ."""
    different = [name for name in other if not same(one[name], other[name])]
    for part in ("best", "last"):
        different += [f"{part} {k}" for k in other[part] if not same(one[part][k], other[part][k])]
    assert not different


@pytest.fixture(scope="module", params=RUNS)
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Callable[[], Killable], dict[str, Any], float]:
    """Makes the same run as often as it is called; how an undisturbed one ends.

    And the seconds from its first last state to its end.
    """
    import torch._dynamo  # noqa: F401 (before the processes fork: both take seconds)

    folder = tmp_path_factory.mktemp("killed")
    model, settings_of = RUNS[request.param]
    settings, numbers = settings_of(folder), iter(range(1000))

    def make() -> Killable:
        return Killable(folder / str(next(numbers)), model, settings)

    undisturbed = make()
    process = undisturbed.start()
    while undisturbed.last() is None:
        assert process.is_alive()
        time.sleep(0.001)
    begun = time.perf_counter()
    process.join()
    seconds = time.perf_counter() - begun
    whole = undisturbed.ended_with()
    assert whole["last"]["epoch"] > whole["best"]["epoch"] or model != "ResNetMF"
    return make, whole, seconds


@pytest.mark.parametrize("seed", range(2))
def test_a_run_killed_at_any_moment_ends_like_one_that_was_not(run: Any, seed: int) -> None:
    make, whole, seconds = run
    share = random.Random(seed).random()
    for _ in range(6):  # until one is killed before its end
        killed = make()
        process = killed.start()
        while killed.last() is None and process.is_alive():
            time.sleep(0.001)
        time.sleep(share * seconds)
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            break
        share *= 0.5
    assert process.exitcode == -signal.SIGKILL
    assert killed.last() is not None
    assert_same(killed.finish(), whole)


@pytest.mark.parametrize(
    ("call", "number", "done"),
    [("fsync", 7, False), ("replace", 8, False), ("replace", 9, True)],
    ids=["written", "on disk", "in place"],
)
def test_a_run_killed_while_it_saves_ends_like_one_that_was_not(
    run: Any, call: str, number: int, done: bool
) -> None:
    make, whole, _ = run
    killed = make()
    process = killed.start(killed_at(call, number, done))
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert killed.last() is not None  # it goes on, and does not begin anew
    assert_same(killed.finish(), whole)


def test_a_run_out_of_disk_keeps_what_it_has_and_goes_on(run: Any) -> None:
    make, whole, _ = run
    full = make()
    process = full.start(disk_full_after(6))
    process.join()
    assert process.exitcode == 1
    assert not full.errors.empty()
    assert "-last.pth could not be written (File too large); what stood" in full.errors.get()
    assert full.last() is not None
    assert_same(full.finish(), whole)


def disk_full_after(files: int) -> Step:
    """No file of the process may grow over 100 bytes any more, once it has written some."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        original, calls = os.replace, iter(range(1, 1000))

        def replace_and_fill(*args: Any) -> None:
            original(*args)
            if next(calls) == files:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))

        os.replace = replace_and_fill  # type: ignore[assignment]

    return prepare
