"""The tests have the rooms of the package, and share only what stands in a room for it."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.worlds.places import ROOT

TESTS = ROOT / "tests"
FILES = sorted(TESTS.rglob("*.py"))


def imported_by(file: Path) -> set[str]:
    """The modules that a file imports, by their full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(TESTS)) for f in FILES])
def test_no_test_imports_from_another_test(file: Path) -> None:
    parts = [part for module in imported_by(file) for part in module.split(".")]
    assert not [part for part in parts if part.startswith("test_")]


def test_every_room_has_its_tests() -> None:
    rooms = {folder.parent.name for folder in (ROOT / "recbole_ext").glob("*/__init__.py")}
    assert rooms <= {folder.parent.name for folder in TESTS.glob("*/test_*.py")}


def test_no_two_test_files_have_one_name() -> None:
    names = Counter(file.name for file in FILES if file.name.startswith("test_"))
    assert [name for name, times in names.items() if times > 1] == []
