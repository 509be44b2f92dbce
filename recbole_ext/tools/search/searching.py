"""One search from its options to its report: ``recbole-ext search``."""

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
Beside --output_file FILE (a table of the trials) stand FILE.jsonl, each trial as it ended, and
FILE.yaml, the best trial's hyper-parameters for --config_files of recbole-ext run.
"""
TAKES_SETTINGS = True
PATIENCE = 10


def add_arguments(parser: ArgumentParser) -> None:
    """RecBole's options, and those of the two tools."""
    add_model_arguments(parser)
    parser.add_argument("--params_file", default="hyper.test", help="what to search")
    parser.add_argument("--output_file", default="hyper.result", help="the table of the trials")
    parser.add_argument("--display_file", help="a page (.html) with pictures of the search")
    parser.add_argument("--tool", choices=["Hyperopt", "Ray"], default="Hyperopt")
    parser.add_argument(
        "--algo",
        choices=["exhaustive", "random", "bayes"],
        help="default: exhaustive where all is choice; else bayes, with Ray random",
    )
    parser.add_argument(
        "--num_samples", type=int, help="trials of random and bayes (Hyperopt 100, Ray 10)"
    )
    parser.add_argument(
        "--early_stop",
        type=int,
        help="Hyperopt: end after so many trials without a better one (10; exhaustive: never)",
    )
    parser.add_argument("--search_seed", type=int, default=2020, help="of which trials are drawn")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted search")
    cluster = parser.add_argument_group("with --tool=Ray")
    cluster.add_argument("--ray_address", help="host:port of a running cluster")
    cluster.add_argument("--max_concurrent", type=int, help="the most trials at once")
    cluster.add_argument("--cpus_per_trial", type=float, default=1.0)
    cluster.add_argument("--gpus_per_trial", type=float, help="default: 1 where there is one")
    cluster.add_argument(
        "--grace_period", type=int, default=10, help="validations before a trial may be stopped"
    )


def main(options: Namespace) -> str:
    """Search, write the files, and say what was found.

    Args:
        options: of :func:`add_arguments`; ``options.settings`` are the hyper-parameters that all
            trials have in common.

    Raises:
        ValueError: if the space does not fit, before anything is trained; or if all trials fail.
        FileNotFoundError: for a missing params file or search to resume.
        FileExistsError: if the output is there.
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
            f"python run.py --model={task.model} --dataset={task.dataset} "
            f"--config_files={best_file}",
        ]
    )
