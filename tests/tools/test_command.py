"""The one command: what it offers, and how each of its commands ends."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recbole_ext import __main__ as entry
from recbole_ext.tools.command_line import ended, parser_of, run_command
from tests.worlds.places import ROOT

MESSAGE = "one thing\nand another"


def command(main: Any, takes_settings: bool = False) -> Any:
    """A command that only ends."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--config_files", default="")

    return SimpleNamespace(
        DESCRIPTION="Ends.", TAKES_SETTINGS=takes_settings, add_arguments=add_arguments, main=main
    )


def raising(error: BaseException) -> Any:
    def main(options: argparse.Namespace) -> str:
        raise error

    return main


@pytest.mark.parametrize("name", entry.COMMANDS)
def test_every_command_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        entry.main([name, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: recbole-ext {name}")
    assert f"recbole-ext {name} " in shown.split("\n\n", 1)[1]  # an example


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        entry.main(["--help"])
    shown = capsys.readouterr().out
    for name, (_, what) in entry.COMMANDS.items():
        assert f"  {name:<11}{what}\n" in shown


@pytest.mark.parametrize("given", [[], ["evidence"]])
def test_an_unknown_command_is_named(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        entry.main(given)
    assert "COMMAND" in capsys.readouterr().err


def test_what_a_command_returns_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("end", command(lambda _: "the end"), []) == 0
    assert capsys.readouterr().out == "the end\n"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(MESSAGE),
        FileNotFoundError(MESSAGE),
        NotImplementedError(MESSAGE),
        ImportError(MESSAGE),
        RuntimeError(MESSAGE),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_expected_error_is_one_line(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("end", command(raising(error)), []) == 1
    assert capsys.readouterr().err == "error: one thing and another\n"


def test_a_command_with_settings_tells_how_to_see_the_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing = command(raising(ValueError("wrong")), takes_settings=True)
    assert run_command("end", failing, ["--state=ERROR"]) == 1
    assert capsys.readouterr().err == "error: wrong\n(--state=DEBUG shows where)\n"
    assert run_command("end", failing, ["--state=debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_error_that_nobody_expects_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command("end", command(raising(ZeroDivisionError())), [])


def test_ctrl_c_has_the_status_of_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("end", command(raising(KeyboardInterrupt())), []) == 130
    assert capsys.readouterr().err == ""


def test_settings_are_for_the_commands_that_take_them() -> None:
    seen: list[dict[str, str]] = []

    def main(options: argparse.Namespace) -> str:
        seen.append(options.settings)
        return ""

    assert run_command("end", command(main, takes_settings=True), ["--epochs=3"]) == 0
    assert seen == [{"epochs": "3"}]
    with pytest.raises(SystemExit, match="2"):
        run_command("end", command(main), ["--epochs=3"])


def test_an_option_is_not_abbreviated() -> None:
    with pytest.raises(SystemExit, match="2"):
        parser_of("end", command(lambda _: "")).parse_args(["--config=x"])


def test_nothing_is_printed_for_a_command_without_a_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(lambda: "", None) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "way", [["-m", "recbole_ext", "run"], [str(ROOT / "run.py")]], ids=["module", "run.py"]
)
def test_each_way_in_does_the_same(way: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *way, "--model=LightSAN"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: model: there is no model 'LightSAN'. Did you mean")


def test_the_console_script_is_the_same_function() -> None:
    script = Path(sys.executable).with_name("recbole-ext")
    assert "from recbole_ext.__main__ import main" in script.read_text(encoding="utf-8")
