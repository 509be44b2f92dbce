"""The checks of a search before anything is trained, and the plan that they return."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.settings.reading import integer, real
from recbole_ext.tools.search.space import Space, every, is_finite, read_space, sample
from recbole_ext.tools.search.task import Task

TRIALS = {"Hyperopt": 100, "Ray": 10}


@dataclass(frozen=True)
class Plan:
    """A search that has been checked.

    Attributes:
        task: the task that each trial trains.
        space: the space that is searched.
        algorithm: ``exhaustive``, ``random`` or ``bayes``.
        count: the maximum number of trials.
        chosen: the hyper-parameters of all trials, if they are known beforehand.
    """

    task: Task
    space: Space
    algorithm: str
    count: int
    chosen: list[dict[str, Any]] | None


def make_plan(options: Namespace) -> Plan:
    """Check the options, the space and the settings of a search.

    Raises:
        ValueError: names what does not fit.
        FileNotFoundError: if the params file or a folder does not exist.
        ConnectionError: if the cluster cannot be reached.
    """
    space = read_space(options.params_file)
    _check_options(options)
    algorithm = _algorithm(options, space)
    task = Task.read(options.model, options.dataset, options.config_files, options.settings)
    task.check(space)
    if options.ray_address is not None:
        from recbole_ext.tools.search.ray_search import check_reachable

        check_reachable(options.ray_address)
    count = options.num_samples or TRIALS[options.tool]
    chosen = every(space) if algorithm == "exhaustive" else None
    if options.tool == "Ray" and chosen is None:
        chosen = sample(space, count, options.search_seed)
    return Plan(task, space, algorithm, count if chosen is None else len(chosen), chosen)


def identity(options: Namespace, plan: Plan) -> dict[str, Any]:
    """The properties by which two searches are the same."""
    return {
        "model": plan.task.model,
        "dataset": plan.task.dataset,
        "settings": plan.task.settings,
        "space": [[p.name, p.kind, p.values] for p in plan.space],
        "tool": options.tool,
        "algorithm": plan.algorithm,
        "seed": options.search_seed,
        "trials": plan.count,
    }


def beside(options: Namespace, suffix: str) -> Path:
    """The path of the output file with a suffix added."""
    return Path(options.output_file + suffix)


def _algorithm(options: Namespace, space: Space) -> str:
    if options.algo is None:
        if is_finite(space) and options.num_samples is None:
            return "exhaustive"
        return "random" if options.tool == "Ray" else "bayes"
    if options.algo == "exhaustive" and not is_finite(space):
        named = next(p for p in space if p.kind != "choice")
        raise ValueError(
            f"--algo=exhaustive needs a choice for every hyper-parameter; {named.name} is "
            f"{named.kind}: use --algo=random or bayes"
        )
    if options.algo == "exhaustive" and options.num_samples is not None:
        raise ValueError("--num_samples is for --algo=random and bayes; exhaustive tries all")
    if options.algo == "bayes" and options.tool == "Ray":
        raise ValueError("--algo=bayes goes trial by trial: use --tool=Hyperopt, or --algo=random")
    return str(options.algo)


def _check_options(options: Namespace) -> None:
    given = vars(options)
    for key in ("num_samples", "max_concurrent", "early_stop", "grace_period"):
        if given[key] is not None:
            integer(given, key, minimum=1)
    real(given, "cpus_per_trial", above=0)
    if options.gpus_per_trial is not None:
        real(given, "gpus_per_trial", minimum=0)
    if options.display_file and not options.display_file.endswith(".html"):
        raise ValueError(f"--display_file must end in .html, got {options.display_file}")
    read = {Path(file).resolve() for file in [options.params_file, *options.config_files]}
    written = [Path(options.output_file), *(beside(options, s) for s in (".jsonl", ".yaml"))]
    written += [Path(options.display_file)] if options.display_file else []
    for file in written:
        if file.resolve() in read:
            raise ValueError(f"--output_file: {file} is read by this search; give another name")
        if not file.resolve().parent.is_dir():
            raise FileNotFoundError(f"--output_file: there is no folder {file.resolve().parent}")
