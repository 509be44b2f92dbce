"""The one command: what it offers, and how each of its commands ends."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recbole_ext import __main__ as entry
from recbole_ext.tools.command_line import ended, parser_of, run_command
from tests.worlds.helpers import small_world
from tests.worlds.places import ROOT

MESSAGE = "one thing\n  and 'an  other'\n"


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
    assert capsys.readouterr().err == "error: one thing and 'an  other'\n"


def test_an_error_without_a_message_has_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("end", command(raising(NotImplementedError())), []) == 1
    assert capsys.readouterr().err == "error: NotImplementedError\n"


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


def call(*way: str) -> subprocess.CompletedProcess[str]:
    """Call one of the ways in as a person at a terminal does."""
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    return subprocess.run([sys.executable, *way], capture_output=True, text=True, env=quiet)


@pytest.mark.parametrize(
    "way",
    [
        ["-m", "recbole_ext", "run"],
        [str(Path(sys.executable).with_name("recbole-ext")), "run"],
        [str(ROOT / "run.py")],
        ["-m", "recbole_ext", "search"],
        [str(ROOT / "run_hyper.py")],
    ],
    ids=["module", "console", "run.py", "search", "run_hyper.py"],
)
def test_each_way_in_does_the_same(way: list[str]) -> None:
    Path("hyper.test").write_text("learning_rate choice [0.1]\n")
    done = call(*way, "--model=LightSAN")
    assert done.returncode == 1
    assert done.stderr.startswith("error: model: there is no model 'LightSAN'. Did you mean")
    assert done.stderr.endswith("\n(--state=DEBUG shows where)\n")


def test_run_py_trains_and_prints_like_the_command(
    write_dataset: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        *("--model=BPR", "--dataset=world", f"--data_path={write_dataset(small_world())}"),
        *("--load_col={'inter':['user_id','item_id']}", "--epochs=1", "--state=ERROR"),
        *("--show_progress=False", "--embedding_size=8"),
    ]
    done = call(str(ROOT / "run.py"), *given)
    assert done.returncode == 0, done.stderr
    assert entry.main(["run", *given]) == 0
    ours, theirs = (text.split("seconds: ")[0] for text in (capsys.readouterr().out, done.stdout))
    assert "BPR on world" in theirs
    assert theirs == ours
