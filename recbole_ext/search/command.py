"""One search from its options to its report, for ``run_hyper.py``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from recbole_ext.hyperparameters import integer, real
from recbole_ext.quick_start import checked_config
from recbole_ext.search.journal import STATUSES, Journal, Trial
from recbole_ext.search.report import draw, progress, trial_table, write_best
from recbole_ext.search.space import Space, every, is_finite, read_space, sample
from recbole_ext.search.task import Task, absolute

TRIALS = {"Hyperopt": 100, "Ray": 10}


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
    """
    space = read_space(options.params_file)
    task = Task(options.model, options.dataset, options.config_files, absolute(settings))
    _check_options(options, space)
    bigger = task.check(space)
    config = checked_config(task.model, task.dataset, task.config_files, dict(task.settings))
    metric = config["valid_metric"].lower()
    algorithm = _algorithm(options, space)
    count = options.num_samples or TRIALS[options.tool]
    output = Path(options.output_file)
    journal = Journal(
        output.with_suffix(".jsonl"),
        {
            **{"model": task.model, "dataset": task.dataset, "settings": task.settings},
            **{"space": [list(vars(p).values()) for p in space], "algorithm": algorithm},
            **{"seed": options.search_seed, "trials": count},
        },
        options.resume,
    )
    chosen = None
    if options.tool == "Ray":
        finite = algorithm == "exhaustive"
        chosen = every(space) if finite else sample(space, count, options.search_seed)
    elif algorithm == "exhaustive":
        count = len(every(space))
    total = len(chosen) if chosen is not None else count

    def tell(_: Trial) -> None:
        print(progress(journal.trials, total, bigger), flush=True)

    if chosen is not None:
        from recbole_ext.search.ray_search import Cluster, search

        validations = -(-config["epochs"] // max(config["eval_step"], 1))
        cluster = Cluster(
            options.ray_address,
            options.cpus_per_trial,
            options.gpus_per_trial,
            options.max_concurrent,
            options.grace_period,
            validations,
        )
        search(task, chosen, journal, bigger, cluster, tell)
    else:
        from recbole_ext.search.hyperopt_search import JournaledTuning

        seed, patience = options.search_seed, options.early_stop
        JournaledTuning(task, space, journal, bigger, algorithm, count, patience, seed, tell).run()
    read = config.variable_config_dict  # settings as RecBole reads them: numbers, lists
    given = {key: read.get(key, value) for key, value in task.settings.items()}
    return _report(options, given, journal, bigger, metric)


def _report(
    options: Namespace, given: dict[str, Any], journal: Journal, bigger: bool, metric: str
) -> str:
    output, trials = Path(options.output_file), journal.trials
    table = trial_table(trials, bigger, metric)
    output.write_text(table + "\n", encoding="utf-8")
    if options.display_file:
        draw(trials, bigger, metric, Path(options.display_file))
    best = journal.best(bigger)
    if best is None:
        failed = [trial for trial in trials if trial.status == "failed"]
        first = f"; the first because of {failed[0].error}" if failed else ""
        raise ValueError(f"none of the {len(trials)} trials ran to its end{first}; see {output}")
    best_file = output.with_suffix(".yaml")
    write_best(best, given, best_file)
    counts = {status: sum(t.status == status for t in trials) for status in STATUSES}
    tested = ", ".join(f"{name} {value}" for name, value in (best.test or {}).items())
    return "\n".join(
        [
            *("", table, ""),
            f"{options.model} on {options.dataset}: "
            + ", ".join(f"{count} {status}" for status, count in counts.items()),
            f"best valid {metric} {best.score:.4f} with {best.settings}",
            f"test of that trial: {tested}",
            f"python run.py --model={options.model} --dataset={options.dataset} "
            f"--config_files={best_file}",
        ]
    )


def _algorithm(options: Namespace, space: Space) -> str:
    if options.algo is None:
        other = "random" if options.tool == "Ray" else "bayes"
        return "exhaustive" if is_finite(space) else other
    if options.algo == "exhaustive" and not is_finite(space):
        named = next(p for p in space if p.kind != "choice")
        raise ValueError(
            f"--algo=exhaustive needs a choice for every hyper-parameter; {named.name} is "
            f"{named.kind}: use --algo=random or bayes"
        )
    if options.algo == "bayes" and options.tool == "Ray":
        raise ValueError("--algo=bayes goes trial by trial: use --tool=Hyperopt, or --algo=random")
    return str(options.algo)


def _check_options(options: Namespace, space: Space) -> None:
    given = vars(options)
    for key in ("num_samples", "max_concurrent"):
        if given[key] is not None:
            integer(given, key, minimum=1)
    for key in ("early_stop", "grace_period"):
        integer(given, key, minimum=1)
    real(given, "cpus_per_trial", above=0)
    if options.gpus_per_trial is not None:
        real(given, "gpus_per_trial", minimum=0)
    if options.display_file and not options.display_file.endswith(".html"):
        raise ValueError(f"--display_file must end in .html, got {options.display_file}")
