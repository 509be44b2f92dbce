"""One search from its options to its report, for ``run_hyper.py``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_ext.atomic_file import replace_text
from recbole_ext.hyperparameters import integer, real
from recbole_ext.search.journal import STATUSES, Journal, Trial
from recbole_ext.search.report import draw, progress, trial_table, write_best
from recbole_ext.search.space import Space, every, is_finite, read_space, sample
from recbole_ext.search.task import Task

TRIALS = {"Hyperopt": 100, "Ray": 10}
PATIENCE = 10


@dataclass(frozen=True)
class Plan:
    """A search that has been checked.

    Attributes:
        task: what a trial trains.
        space: what is tried.
        algorithm: ``exhaustive``, ``random`` or ``bayes``.
        count: the most trials.
        chosen: the hyper-parameters of all trials, where they are known beforehand.
    """

    task: Task
    space: Space
    algorithm: str
    count: int
    chosen: list[dict[str, Any]] | None


def run_search(options: Namespace, settings: dict[str, Any]) -> str:
    """Search, write the files, and say what was found.

    Args:
        options: as ``run_hyper.py`` reads them.
        settings: hyper-parameters that all trials have in common.

    Raises:
        ValueError: if the space does not fit, before anything is trained; or if all trials fail.
        FileNotFoundError: for a missing params file or search to resume.
        FileExistsError: if the output is there.
        ConnectionError: if the cluster cannot be reached.
        RuntimeError: if the search was interrupted.
    """
    plan = _plan(options, settings)
    journal = Journal(_beside(options, ".jsonl"), _identity(options, plan), options.resume)

    def tell(_: Trial) -> None:
        print(progress(journal.trials, plan.count, plan.task.bigger), flush=True)

    search = _search_on_ray if options.tool == "Ray" else _search_here
    search(options, plan, journal, tell)
    return _report(options, plan.task, journal)


def _plan(options: Namespace, settings: dict[str, Any]) -> Plan:
    space = read_space(options.params_file)
    _check_options(options)
    algorithm = _algorithm(options, space)
    task = Task.read(options.model, options.dataset, options.config_files, settings)
    task.check(space)
    if options.ray_address is not None:
        from recbole_ext.search.ray_search import check_reachable

        check_reachable(options.ray_address)
    count = options.num_samples or TRIALS[options.tool]
    chosen = every(space) if algorithm == "exhaustive" else None
    if options.tool == "Ray" and chosen is None:
        chosen = sample(space, count, options.search_seed)
    return Plan(task, space, algorithm, count if chosen is None else len(chosen), chosen)


def _identity(options: Namespace, plan: Plan) -> dict[str, Any]:
    """What makes two searches the same."""
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


def _search_here(
    options: Namespace, plan: Plan, journal: Journal, tell: Callable[[Trial], None]
) -> None:
    from recbole_ext.search.hyperopt_search import JournaledTuning

    patience = options.early_stop
    if patience is None:
        patience = plan.count if plan.algorithm == "exhaustive" else PATIENCE
    JournaledTuning(
        plan.task,
        plan.space,
        journal,
        plan.algorithm,
        plan.count,
        patience,
        options.search_seed,
        tell,
    ).run()


def _search_on_ray(
    options: Namespace, plan: Plan, journal: Journal, tell: Callable[[Trial], None]
) -> None:
    from recbole_ext.search.ray_search import Cluster, search

    cluster = Cluster(
        options.ray_address,
        options.cpus_per_trial,
        options.gpus_per_trial,
        options.max_concurrent,
        options.grace_period,
    )
    search(plan.task, plan.chosen or [], journal, cluster, tell)


def _report(options: Namespace, task: Task, journal: Journal) -> str:
    trials, bigger, metric = journal.trials, task.bigger, task.metric
    table = trial_table(trials, bigger, metric)
    replace_text(options.output_file, table + "\n")
    best = journal.best(bigger)
    if best is None:
        failed = [trial for trial in trials if trial.status == "failed"]
        first = f"; the first because of {failed[0].error}" if failed else ""
        raise ValueError(
            f"none of the {len(trials)} trials ran to its end{first}; see {options.output_file}"
        )
    best_file = _beside(options, ".yaml")
    write_best(best, task.settings, best_file)
    if options.display_file:
        draw(trials, bigger, metric, Path(options.display_file))
    counts = {status: sum(t.status == status for t in trials) for status in STATUSES}
    tested = ", ".join(f"{name} {value}" for name, value in (best.test or {}).items())
    return "\n".join(
        [
            *("", table, ""),
            f"{task.model} on {task.dataset}: "
            + ", ".join(f"{count} {status}" for status, count in counts.items()),
            f"best valid {metric} {best.score:.4f} with {best.settings}",
            f"test of that trial: {tested}",
            f"python run.py --model={task.model} --dataset={task.dataset} "
            f"--config_files={best_file}",
        ]
    )


def _beside(options: Namespace, suffix: str) -> Path:
    """A file whose name is the table's and more."""
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
    written = [Path(options.output_file), *(_beside(options, s) for s in (".jsonl", ".yaml"))]
    written += [Path(options.display_file)] if options.display_file else []
    for file in written:
        if file.resolve() in read:
            raise ValueError(f"--output_file: {file} is read by this search; give another name")
        if not file.resolve().parent.is_dir():
            raise FileNotFoundError(f"--output_file: there is no folder {file.resolve().parent}")
