"""Search hyper-parameters: ``python run_hyper.py --model=LambdaOptMF --params_file=hyper.test``.

Arguments are read before anything heavy is imported.
"""

from __future__ import annotations

import argparse
import sys
import traceback

from run import new_parser, settings_of

EPILOG = """\
A params file has a line for each hyper-parameter:
  learning_rate choice [0.01,0.001]     embedding_size choice [32,64]
  dropout_prob uniform 0,0.5            hidden_size quniform 32,256,32
  weight_decay loguniform -11.5,-6.9    (natural logarithms of the ends)
Any other hyper-parameter, the same in all trials, is given as --key=value.
Beside --output_file FILE (a table of the trials) stand FILE.jsonl, each trial as it ended, and
FILE.yaml, the best trial's hyper-parameters for run.py's --config_files.
"""


def build_parser() -> argparse.ArgumentParser:
    """RecBole's options, and those of the two tools."""
    parser = new_parser(
        "run_hyper.py", "Search the hyper-parameters of a model of recbole_ext or RecBole.", EPILOG
    )
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
    return parser


def main(arguments: list[str]) -> int:
    """Search and print what was found; returns the exit status."""
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    settings = settings_of(parser, options, rest)
    sys.argv = sys.argv[:1]  # RecBole reads the command line as well
    try:
        from recbole_ext.search.command import run_search

        print(run_search(options, settings))
    except (ValueError, OSError, NotImplementedError, ImportError, RuntimeError) as error:
        if str(settings.get("state", "")).upper() == "DEBUG":
            traceback.print_exc()
        print(f"error: {error}\n(--state=DEBUG shows where)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
