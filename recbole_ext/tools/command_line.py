"""The parts that all commands share: their interface, their options, and how they end."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import yaml

# These errors end a command without a traceback, as their messages say what is wrong.
EXPECTED = (ValueError, OSError, NotImplementedError, ImportError, RuntimeError)
INTERRUPTED = 130  # the status that a shell gives to Ctrl-C


class Command(Protocol):
    """The interface of a module of ``tools`` that implements a command."""

    DESCRIPTION: str
    TAKES_SETTINGS: bool  # whether hyper-parameters may be given as --key=value

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options of the command."""

    def main(self, options: argparse.Namespace) -> str:
        """Run the command.

        Args:
            options: the declared options, and ``settings``, the given hyper-parameters.

        Returns:
            What to print at the end.
        """


def parser_of(name: str, command: Command) -> argparse.ArgumentParser:
    """The parser of one command."""
    parser = argparse.ArgumentParser(
        prog=f"recbole-ext {name}",
        description=command.DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    return parser


def run_command(name: str, command: Command, arguments: list[str]) -> int:
    """Read the arguments of a command, run it and print what it returns.

    Wrong arguments end the program with the status 2.

    Returns:
        The exit status, from :func:`ended`.
    """
    parser = parser_of(name, command)
    if command.TAKES_SETTINGS:
        options, rest = parser.parse_known_args(arguments)
        options.settings = settings_of(parser, options, rest)
    else:
        options = parser.parse_args(arguments)
        options.settings = {}
    sys.argv = sys.argv[:1]  # RecBole reads the command line of the process
    debug = options.settings if command.TAKES_SETTINGS else None
    return ended(lambda: command.main(options), debug)


def ended(work: Callable[[], str], settings: dict[str, Any] | None) -> int:
    """Do some work and print its text, or the message of its error on standard error.

    Args:
        work: returns what to print.
        settings: the hyper-parameters of a command that takes them, where ``--state=DEBUG`` shows
            the traceback; ``None`` for another command.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    try:
        text = work()
    except KeyboardInterrupt:
        return INTERRUPTED  # the log tells how to go on
    except EXPECTED as error:
        if settings and str(settings.get("state", "")).upper() == "DEBUG":
            traceback.print_exc()
        hint = "" if settings is None else "\n(--state=DEBUG shows where)"
        print(f"error: {_in_one_line(error)}{hint}", file=sys.stderr)
        return 1
    if text:
        print(text)
    return 0


def _in_one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(filter(None, lines)) or type(error).__name__


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model, the dataset and the yaml files, as in RecBole's own ``run.py``."""
    parser.add_argument("--model", "-m", default="LambdaOptMF", help="name of the model")
    parser.add_argument("--dataset", "-d", default="ml-100k", help="name of the dataset")
    parser.add_argument("--config_files", default="", help="yaml files, separated by spaces")


def settings_of(
    parser: argparse.ArgumentParser, options: argparse.Namespace, rest: list[str]
) -> dict[str, Any]:
    """Read the hyper-parameters, which have the form ``--key=value``, and check the yaml files.

    ``options.config_files`` becomes a list. A mistake ends the program with the status 2.

    Args:
        parser: the parser of the command, which reports a mistake.
        options: the declared options.
        rest: the arguments that are no declared options.
    """
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
