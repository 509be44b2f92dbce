"""Train and evaluate a model: ``python run.py --model=LambdaOptMF --dataset=ml-100k --epochs=50``.

Arguments are read before anything heavy is imported.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path
from typing import Any

import yaml

EPILOG = """\
Any other hyper-parameter of RecBole or of the model is given as --key=value, for example
  --learning_rate=0.005  --topk=[10,50]  --load_col="{'inter':['user_id','item_id']}"
  --resume_file=saved/X-last.pth   continue an interrupted run
The models' hyper-parameters are explained in properties/model/<Name>.yaml.
"""


def new_parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser with the options that all of our commands have."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", "-m", default="LambdaOptMF", help="name of the model")
    parser.add_argument("--dataset", "-d", default="ml-100k", help="name of the dataset")
    parser.add_argument("--config_files", default="", help="yaml files, separated by spaces")
    return parser


def build_parser() -> argparse.ArgumentParser:
    """The options that are no hyper-parameters, as in RecBole's own ``run.py``."""
    parser = new_parser("run.py", "Train and evaluate a model of recbole_ext or RecBole.", EPILOG)
    parser.add_argument("--nproc", type=int, default=1, help="processes on this machine (GPUs)")
    parser.add_argument("--ip", default="localhost", help="address of the master node")
    parser.add_argument("--port", default="5678", help="port of the master node")
    parser.add_argument("--world_size", type=int, default=-1, help="processes in total")
    parser.add_argument(
        "--group_offset", type=int, default=0, help="rank of the first process here"
    )
    return parser


def parse(arguments: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Split the command line into options and hyper-parameters; ends the program on an error."""
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    return options, settings_of(parser, options, rest)


def settings_of(
    parser: argparse.ArgumentParser, options: argparse.Namespace, rest: list[str]
) -> dict[str, Any]:
    """Hyper-parameters from arguments of the form ``--key=value``; checks the yaml files, too."""
    settings: dict[str, Any] = {}
    for argument in rest:
        key, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not equals or not key:
            parser.error(f"{argument!r} is not of the form --key=value")
        if settings.get(key, value) != value:
            parser.error(f"--{key} is given twice, as {settings[key]!r} and {value!r}")
        settings[key] = value
    options.config_files = options.config_files.split()
    for file in options.config_files:
        if problem := _problem_with(file):
            parser.error(f"--config_files: {problem}")
    return settings


def _problem_with(file: str) -> str | None:
    if not Path(file).is_file():
        return f"there is no file {file!r}"
    try:
        content = yaml.load(Path(file).read_text(encoding="utf-8"), Loader=yaml.FullLoader)
    except yaml.YAMLError as error:
        return f"{file!r} is no yaml: {error}"
    return None if isinstance(content, dict) else f"{file!r} has no lines of the form key: value"


def main(arguments: list[str]) -> int:
    """Run and print the summary; returns the exit status."""
    options, settings = parse(arguments)
    sys.argv = sys.argv[:1]  # RecBole reads the command line as well; everything is in `settings`

    from recbole_ext import run
    from recbole_ext.summary import summarize

    try:
        result = run(
            options.model,
            options.dataset,
            config_file_list=options.config_files,
            config_dict=settings,
            nproc=options.nproc,
            world_size=options.world_size,
            ip=options.ip,
            port=options.port,
            group_offset=options.group_offset,
        )
    except (ValueError, OSError, NotImplementedError, ImportError) as error:
        if settings.get("state", "").upper() == "DEBUG":
            traceback.print_exc()
        print(f"error: {error}\n(--state=DEBUG shows where)", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # the log tells how to go on
    print(summarize(options.model, options.dataset, result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
