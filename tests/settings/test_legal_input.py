"""What RecBole takes is not refused, and is read as RecBole reads it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.settings import legal_input
from tests.worlds.places import ROOT


def found(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            str(ROOT / "tests" / "settings" / "legal_input.py"),
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_with_the_plugin_recbole_makes_the_same_of_what_is_legal() -> None:
    alone = found()
    assert len(alone) == len(legal_input.SETTINGS) + len(legal_input.DATA)
    assert [name for name, made in alone.items() if isinstance(made, str)] == []
    assert found("--plugin") == alone
