"""What a run did besides its metrics: the seconds of each phase and where its checkpoint is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from logging import getLogger
from time import perf_counter
from typing import Any, TypeAlias

from recbole_ext.learning_curve import curve_file, read_curve, write_curve

_current: ContextVar[Recording | None] = ContextVar("recording", default=None)
# Takes an epoch and its validation score.
Listener: TypeAlias = Callable[[int, float], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@dataclass
class Recording:
    """A run under way or done.

    Attributes:
        seconds: time of each phase; a phase inside another (validation in training) counts once.
        checkpoint: path of the file that holds the best epoch, if one was saved.
        last: path of the file from which the run goes on if it is interrupted.
        curve: for each validation its ``epoch``, the ``seconds`` since training began, the
            ``train_loss`` and the metrics.
        frequency_groups: the test's metrics by group, if they were asked for.
        scenarios: the test's metrics by scenario and method, of a cold-start model.
        phase: the phase under way.
        since: when it began.
        before: seconds that a resumed run had taken before it was interrupted.
        saves: whether the curve is kept in a file.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    checkpoint: str | None = None
    last: str | None = None
    curve: list[dict[str, float]] = field(default_factory=list)
    frequency_groups: dict[str, list[dict[str, Any]]] | None = None
    scenarios: list[dict[str, Any]] | None = None
    phase: str = "loading"
    since: float = field(default_factory=lambda: perf_counter())
    before: float = 0.0
    saves: bool = True

    def switch(self, phase: str) -> str:
        """Count the time for the phase under way, and begin another; returns the former."""
        now = perf_counter()
        self.seconds[self.phase] = self.seconds.get(self.phase, 0.0) + now - self.since
        former, self.phase, self.since = self.phase, phase, now
        return former

    def write_curve(self) -> None:
        """Write the curve so far beside the checkpoint, once there is one."""
        if self.saves and self.checkpoint and self.curve:
            write_curve(self.curve, curve_file(self.checkpoint))

    def resume_curve(self, epoch: int) -> None:
        """Take up the curve beside the checkpoint, up to an epoch."""
        file = curve_file(self.checkpoint or "")
        try:
            self.curve = [point for point in read_curve(file) if point["epoch"] <= epoch]
        except FileNotFoundError:
            return
        except ValueError as error:
            getLogger().warning(f"the learning curve begins anew: {error}")
        self.before = self.curve[-1]["seconds"] if self.curve else 0.0


@contextmanager
def recording(saves: bool = True) -> Iterator[Recording]:
    """Record the run that happens inside; ``saves`` keeps its curve in a file."""
    record = Recording(saves=saves)
    token = _current.set(record)
    try:
        yield record
    finally:
        record.switch("done")
        _current.reset(token)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell a listener each validation score of the runs that happen inside, as it is known."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def note_checkpoint(path: str) -> None:
    """Tell the recording under way, if any, that a checkpoint was written."""
    record = _current.get()
    if record is not None:
        record.checkpoint = path
        record.write_curve()


def note_last(path: str) -> None:
    """Tell the recording under way, if any, where the last state was written."""
    record = _current.get()
    if record is not None:
        record.last = path


def note_resumed(path: str, epoch: int) -> None:
    """Tell the recording under way, if any, that a run goes on after an epoch of a checkpoint."""
    record = _current.get()
    if record is not None:
        record.checkpoint = path
        record.resume_curve(epoch)


def note_validation(epoch: int, train_loss: Any, score: float, result: dict[str, float]) -> None:
    """Tell the recording under way, if any, one more point of the learning curve."""
    listener = _listener.get()
    if listener is not None:
        listener(epoch, score)
    record = _current.get()
    if record is not None:
        spent = record.seconds.get("training", 0.0) + record.seconds.get("validation", 0.0)
        seconds = round(record.before + spent + perf_counter() - record.since, 2)
        point = {"epoch": epoch, "seconds": seconds, "train_loss": train_loss, **result}
        if record.curve and record.curve[-1].keys() != point.keys():
            getLogger().warning("the learning curve begins anew: it has other metrics")
            record.curve = []
        record.curve.append(point)
        record.write_curve()


def note_frequency_groups(groups: dict[str, list[dict[str, Any]]]) -> None:
    """Tell the recording under way, if any, the metrics by frequency group."""
    record = _current.get()
    if record is not None:
        record.frequency_groups = groups


def note_scenarios(rows: list[dict[str, Any]]) -> None:
    """Tell the recording under way, if any, the metrics by scenario."""
    record = _current.get()
    if record is not None:
        record.scenarios = rows


def timed(phase: str, function: Callable) -> Callable:
    """Count a function's time for a phase of the recording under way, if there is one."""

    def timed_function(*args: Any, **kwargs: Any) -> Any:
        record = _current.get()
        if record is None or (phase == "test" and record.phase == "validation"):
            return function(*args, **kwargs)
        former = record.switch(phase)
        try:
            return function(*args, **kwargs)
        finally:
            record.switch("other" if former == "loading" else former)

    return timed_function
