"""Search the hyper-parameters of a model: ``recbole-ext search``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from recbole_ext.tools.command_line import add_model_arguments
from recbole_ext.tools.search.journal import STATUSES, Journal, Trial
from recbole_ext.tools.search.planning import Plan, beside, identity, make_plan
from recbole_ext.tools.search.task import Task
from recbole_ext.tools.search.trials_table import (
    draw,
    progress,
    trial_table,
    write_best,
    write_table,
)

DESCRIPTION = """\
Search the hyper-parameters of a model of recbole_ext or RecBole.

    recbole-ext search --model=LambdaOptMF --params_file=hyper.test

A params file has a line for each hyper-parameter:
  learning_rate choice [0.01,0.001]     embedding_size choice [32,64]
  dropout_prob uniform 0,0.5            hidden_size quniform 32,256,32
  weight_decay loguniform -11.5,-6.9    (natural logarithms of the ends)
Any other hyper-parameter, the same in all trials, is given as --key=value.
A search writes three files: --output_file FILE is a table of the trials, FILE.jsonl has a line for
each trial, and FILE.yaml the best trial's hyper-parameters for --config_files of recbole-ext run.
"""
TAKES_SETTINGS = True
PATIENCE = 10


def add_arguments(parser: ArgumentParser) -> None:
    """Declare RecBole's options, and those of Hyperopt and Ray."""
    add_model_arguments(parser)
    parser.add_argument("--params_file", default="hyper.test", help="file with the space to search")
    parser.add_argument(
        "--output_file", default="hyper.result", help="file to write the table of trials to"
    )
    parser.add_argument("--display_file", help="file (.html) to draw the search on")
    parser.add_argument("--tool", choices=["Hyperopt", "Ray"], default="Hyperopt")
    parser.add_argument(
        "--algo",
        choices=["exhaustive", "random", "bayes"],
        help="by default exhaustive if every line is a choice, else bayes, or random with Ray",
    )
    parser.add_argument(
        "--num_samples",
        type=int,
        help="number of trials of random and bayes (default: Hyperopt 100, Ray 10)",
    )
    parser.add_argument(
        "--early_stop",
        type=int,
        help="Hyperopt ends after so many trials without a better one (10; exhaustive: never)",
    )
    parser.add_argument(
        "--search_seed", type=int, default=2020, help="seed of the random choice of trials"
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted search")
    cluster = parser.add_argument_group("with --tool=Ray")
    cluster.add_argument("--ray_address", help="host:port of a running cluster")
    cluster.add_argument("--max_concurrent", type=int, help="maximum number of trials at once")
    cluster.add_argument("--cpus_per_trial", type=float, default=1.0, help="threads of a trial")
    cluster.add_argument(
        "--gpus_per_trial", type=float, help="GPUs of a trial (default: 1 if there is one)"
    )
    cluster.add_argument(
        "--grace_period", type=int, default=10, help="validations before a trial may be stopped"
    )


def main(options: Namespace) -> str:
    """Search and write the files; returns the table and the best trial.

    Args:
        options: from :func:`add_arguments`; ``options.settings`` are the hyper-parameters that all
            trials share.

    Raises:
        ValueError: if the space does not fit, before anything is trained; or if all trials fail.
        FileNotFoundError: if the params file or the search to resume does not exist.
        FileExistsError: if the journal exists and ``--resume`` is not given.
        ConnectionError: if the cluster cannot be reached.
        RuntimeError: if the search was interrupted.
    """
    plan = make_plan(options)
    journal = Journal(beside(options, ".jsonl"), identity(options, plan), options.resume)

    def tell(_: Trial) -> None:
        print(progress(journal.trials, plan.count, plan.task.bigger), flush=True)

    search = _search_on_ray if options.tool == "Ray" else _search_here
    search(options, plan, journal, tell)
    return _report(options, plan.task, journal)


def _search_here(
    options: Namespace, plan: Plan, journal: Journal, tell: Callable[[Trial], None]
) -> None:
    from recbole_ext.tools.search.hyperopt_search import JournaledTuning

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
    from recbole_ext.tools.search.ray_search import Cluster, search

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
    write_table(table, Path(options.output_file))
    best = journal.best(bigger)
    if best is None:
        failed = [trial for trial in trials if trial.status == "failed"]
        first = f"; the first because of {failed[0].error}" if failed else ""
        raise ValueError(
            f"none of the {len(trials)} trials ran to its end{first}; see {options.output_file}"
        )
    best_file = beside(options, ".yaml")
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
            f"recbole-ext run --model={task.model} --dataset={task.dataset} "
            f"--config_files={best_file}",
        ]
    )
