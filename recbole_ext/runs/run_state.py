"""The state of a run that RecBole's trainer does not keep: one object, ``trainer.run_state``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from logging import getLogger
from time import perf_counter
from typing import Any, TypeAlias

from torch import Generator, Tensor

from recbole_ext.processes.group import is_first
from recbole_ext.runs.learning_curve import Point, curve_file, read_curve, write_curve

# Takes an epoch and its validation score.
Listener: TypeAlias = Callable[[int, float], None]
# Takes the file of the last state and keeps the run's files elsewhere; returns where that one is.
Keeper: TypeAlias = Callable[[str], str]


@dataclass
class Clock:
    """The seconds of each phase of a run.

    A phase inside another, such as validation in training, is not counted twice.

    Attributes:
        seconds: the seconds of each phase that has ended or was interrupted by another.
        phase: the present phase.
        since: when the present phase began, by ``perf_counter``.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    phase: str = "loading"
    since: float = field(default_factory=lambda: perf_counter())

    def switch(self, phase: str) -> str:
        """End the present phase and begin another; returns the one that ended."""
        now = perf_counter()
        self.seconds[self.phase] = self.seconds.get(self.phase, 0.0) + now - self.since
        former, self.phase, self.since = self.phase, phase, now
        return former

    def trained(self) -> float:
        """Seconds of training and validation so far, with those of the present phase."""
        ended = self.seconds.get("training", 0.0) + self.seconds.get("validation", 0.0)
        return ended + perf_counter() - self.since


@dataclass
class RunState:
    """The state of a run, which its trainer updates and the caller of the run reads.

    Attributes:
        saves: whether the learning curve is written to a file.
        listener: a function that gets each validation score as soon as it is known.
        keeper: a function that is called as soon as the last state is written.
        clock: the seconds of each phase.
        checkpoint: path of the file that holds the best epoch, if one was saved.
        last: path of the file from which the run can be resumed if it is interrupted.
        curve: for each validation its ``epoch``, the ``seconds`` since training began, the
            ``train_loss`` and the metrics.
        seconds_before: seconds that a resumed run had taken before it was interrupted.
        frequency_groups: the test's metrics by group, if the setting of this name asks for them.
        scenarios: the test's metrics by scenario and method, for a cold-start model.
        validating: whether the evaluation under way is a validation rather than a test.
        latest_valid_result: the metrics of the latest validation, if there was one.
        training_counts: the number of training ratings of each user, shape: [n_users], and of each
            item, shape: [n_items], if they were counted.
        generators: the training loader's random generators, by name.
        random_state: the state of all random generators that ``fit`` restores in a resumed run.
    """

    saves: bool = False
    listener: Listener | None = None
    keeper: Keeper | None = None
    clock: Clock = field(default_factory=Clock)
    checkpoint: str | None = None
    last: str | None = None
    curve: list[Point] = field(default_factory=list)
    seconds_before: float = 0.0
    frequency_groups: dict[str, list[dict[str, Any]]] | None = None
    scenarios: list[dict[str, Any]] | None = None
    validating: bool = False
    latest_valid_result: dict[str, float] | None = None
    training_counts: tuple[Tensor, Tensor] | None = None
    generators: dict[str, Generator] = field(default_factory=dict)
    random_state: dict[str, Any] | None = None

    def saved_best(self, path: str) -> None:
        """Store the path of the best epoch's checkpoint, and write the curve beside it."""
        self.checkpoint = path
        self._write_curve()

    def saved_last(self, path: str) -> None:
        """Store the path of the last state, and pass it to the keeper."""
        self.last = path if self.keeper is None else self.keeper(path)

    def resumed(self, path: str, epoch: int) -> None:
        """Continue after an epoch of a checkpoint, and read the learning curve beside it."""
        self.checkpoint = path
        try:
            points = read_curve(curve_file(path))
            self.curve = [point for point in points if point["epoch"] <= epoch]
        except FileNotFoundError:
            return
        except ValueError as error:
            getLogger().warning(f"the learning curve begins anew: {error}")
        self.seconds_before = self.curve[-1]["seconds"] if self.curve else 0.0

    def validated(
        self, epoch: int, train_loss: Any, score: float, result: dict[str, float]
    ) -> None:
        """Pass a validation score to the listener, and add a point to the learning curve."""
        if self.listener is not None:
            self.listener(epoch, score)
        seconds = round(self.seconds_before + self.clock.trained(), 2)
        point = {"epoch": epoch, "seconds": seconds, "train_loss": train_loss, **result}
        if self.curve and self.curve[-1].keys() != point.keys():
            getLogger().warning("the learning curve begins anew: it has other metrics")
            self.curve = []
        self.curve.append(point)
        self._write_curve()

    def _write_curve(self) -> None:
        if self.saves and self.checkpoint and self.curve and is_first():
            write_curve(self.curve, curve_file(self.checkpoint))


_begun: ContextVar[RunState | None] = ContextVar("run_state", default=None)


@contextmanager
def running(
    saves: bool, listener: Listener | None = None, keeper: Keeper | None = None
) -> Iterator[RunState]:
    """Begin a run; the trainer that RecBole creates in this block has the state that is yielded.

    A context variable passes the state on, because RecBole creates the trainer in a function that
    takes no such argument.
    """
    state = RunState(saves=saves, listener=listener, keeper=keeper)
    token = _begun.set(state)
    try:
        yield state
    finally:
        state.clock.switch("done")
        _begun.reset(token)


def state_of_new_trainer() -> RunState:
    """The state of the present run, or a new one for a trainer that is created outside a run."""
    return _begun.get() or RunState()


def timed(phase: str, method: Callable) -> Callable:
    """Wrap a method of RecBole's ``Trainer``: its time is counted as a phase of the run."""

    def timed_method(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        clock = trainer.run_state.clock
        if phase == "test" and clock.phase == "validation":
            return method(trainer, *args, **kwargs)
        former = clock.switch(phase)
        try:
            return method(trainer, *args, **kwargs)
        finally:
            clock.switch("other" if former == "loading" else former)

    return timed_method
