"""A search on this machine, one trial after another, through RecBole's ``HyperTuning``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from recbole.trainer import HyperTuning, hyper_tuning

from recbole_ext.tools.search.journal import Journal, Trial
from recbole_ext.tools.search.space import Space
from recbole_ext.tools.search.task import Task


class JournaledTuning(HyperTuning):
    """RecBole's ``HyperTuning`` with a journal of its trials; a failed trial does not end it.

    Args:
        task: the task that each trial trains.
        space: the space that is searched.
        journal: the journal of trials; a trial in it is not run again.
        algorithm: ``exhaustive``, ``random`` or ``bayes``.
        most: the maximum number of trials of ``random`` and ``bayes``.
        patience: the number of trials without progress that ends the search.
        seed: seed of the random choice of trials.
        tell: called with each trial when it ends.
    """

    def __init__(
        self,
        task: Task,
        space: Space,
        journal: Journal,
        algorithm: str,
        most: int,
        patience: int,
        seed: int,
        tell: Callable[[Trial], None],
    ) -> None:
        super().__init__(None, space=hyperopt_space(space), algo=algorithm, max_evals=most)
        self.task, self.journal, self.tell, self.seed = task, journal, tell, seed
        self.parameters = {parameter.name: parameter for parameter in space}
        self.early_stop_fn = _no_progress(patience)

    def run(self) -> None:
        """Run all trials like RecBole's method, but from a seed and without a progress bar."""
        from hyperopt import fmin

        fmin(
            self.trial,
            self.space,
            algo=self.algo,
            max_evals=self.max_evals,
            early_stop_fn=self.early_stop_fn,
            # RecBole's numpy has the random state that the installed hyperopt takes
            rstate=hyper_tuning.np.random.RandomState(self.seed),
            show_progressbar=False,
        )

    def trial(self, params: dict[str, Any]) -> dict[str, Any]:
        """Run one trial, or look it up in the journal; it replaces RecBole's method."""
        chosen = {name: self._value(name, drawn) for name, drawn in params.items()}
        trial = self.journal.find(chosen)
        if trial is None:
            trial = self.task.train(chosen, lambda epoch, score: None)
            self.journal.add(trial)
            self.tell(trial)
        if trial.score is None:
            return {"loss": math.inf, "status": "ok"}
        return {"loss": -trial.score if self.task.bigger else trial.score, "status": "ok"}

    def _value(self, name: str, drawn: Any) -> Any:
        parameter = self.parameters[name]
        if parameter.kind == "choice":
            return parameter.values[int(drawn)]
        return parameter.settle(float(drawn))


def hyperopt_space(space: Space) -> dict[str, Any]:
    """The space in hyperopt's form; a choice is searched by the index of its value."""
    from hyperopt import hp

    kinds = {
        "choice": lambda p: hp.choice(p.name, list(range(len(p.values)))),
        "uniform": lambda p: hp.uniform(p.name, *p.values),
        "quniform": lambda p: hp.quniform(p.name, *p.values),
        "loguniform": lambda p: hp.loguniform(p.name, *p.values),
    }
    return {parameter.name: kinds[parameter.kind](parameter) for parameter in space}


def _no_progress(patience: int) -> Callable:
    """Stop after ``patience`` trials without progress; hyperopt's own stop fails on infinities."""
    best, since = math.inf, 0

    def stop(trials: Any, *_: Any) -> tuple[bool, list]:
        nonlocal best, since
        loss = trials.trials[-1]["result"]["loss"]
        best, since = (loss, 0) if loss < best else (best, since + 1)
        return since >= patience, []

    return stop
