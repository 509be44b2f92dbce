"""The one command of the package: ``recbole-ext`` or ``python -m recbole_ext``."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import cast

from recbole_ext.tools.command_line import Command, run_command

# The module of tools/ behind each command, which is imported when it is asked for; what it does.
COMMANDS = {
    "run": ("training", "train, validate and test a model"),
    "search": ("search.searching", "search the hyper-parameters of a model"),
    "plot": ("plot", "draw the learning curves of several runs in one picture"),
    "report": ("report.writing", "write one page about one or several runs"),
    "recommend": ("recommend", "recommend items to people that the data never saw"),
    "judge": ("judge", "judge a checkpoint by people that the data never saw"),
    "ask": ("ask", "say which items to ask new users about"),
    "demo": ("demo.serving", "serve a page that asks for ratings and shows the list change"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the arguments name; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    lines = [f"  {name:<11}{what}" for name, (_, what) in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="recbole-ext",
        description="Models that learn how to learn, as a plugin for RecBole.",
        epilog="\n".join(["commands:", *lines, "", "recbole-ext COMMAND --help tells the rest."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help="see below")
    name = parser.parse_args(given[:1]).command
    module = import_module(f"recbole_ext.tools.{COMMANDS[name][0]}")
    return run_command(name, cast("Command", module), given[1:])


if __name__ == "__main__":
    raise SystemExit(main())
