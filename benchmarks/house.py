"""Counts of the package's rooms, imports and files, compared with their bounds.

    python benchmarks/house.py

``make lint`` runs this script. A room is a folder directly below ``recbole_ext/``. An import across
rooms connects two modules in different rooms, or a module in a room with one outside all rooms.
"""

from __future__ import annotations

from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
from tabulate import tabulate

PACKAGE = "recbole_ext"
FOLDER = Path(__file__).resolve().parents[1] / PACKAGE
BESIDE = {"__init__.py", "__main__.py"}
TWICE_ALLOWED = {"__init__", "settings", "trainer"}  # their folder tells them apart
MOST_LINES = 250
# The largest allowed count of each kind.
BOUNDS = {
    "rooms": 10,
    "loose modules": 1,
    "imports across rooms": 135,
    "circles": 0,
    f"files over {MOST_LINES} lines": 0,
    "module names that occur twice": 0,
}


def room_of(module: str) -> str:
    """The room of a module; a module outside all rooms is its own room."""
    return [*module.split("."), PACKAGE][1]


def circles(graph: grimp.ImportGraph) -> list[str]:
    """A circular import of modules and one of rooms, if there are any."""
    modules = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    rooms: dict[str, set[str]] = {room_of(module): set() for module in modules}
    for importer, imported in modules.items():
        rooms[room_of(importer)] |= {room_of(m) for m in imported} - {room_of(importer)}
    found = []
    for arrows in (modules, rooms):
        try:
            TopologicalSorter(arrows).prepare()
        except CycleError as error:
            found.append(" → ".join(error.args[1]))
    return found


def count() -> dict[str, list[str]]:
    """The names of what is counted, for each kind with a bound."""
    files = sorted(FOLDER.rglob("*.py"))
    graph = grimp.build_graph(PACKAGE)
    pairs = [(m, other) for m in graph.modules for other in
             graph.find_modules_directly_imported_by(m)]  # fmt: skip
    stems = Counter(file.stem for file in files if file.stem not in TWICE_ALLOWED)
    found = (
        [folder.parent.name for folder in FOLDER.glob("*/__init__.py")],
        [file.name for file in FOLDER.glob("*.py") if file.name not in BESIDE],
        [f"{m} → {other}" for m, other in pairs if room_of(m) != room_of(other)],
        circles(graph),
        [str(f.relative_to(FOLDER)) for f in files if len(f.read_text().split("\n")) > MOST_LINES],
        [stem for stem, times in stems.items() if times > 1],
    )
    return dict(zip(BOUNDS, found, strict=True))


def main() -> int:
    """Print the counts; the exit status is 1 if a bound is exceeded."""
    counted = count()
    rows = [[name, len(found), BOUNDS[name]] for name, found in counted.items()]
    print(tabulate(rows, ["", "counted", "at most"], tablefmt="github"))
    passed = [name for name, found in counted.items() if len(found) > BOUNDS[name]]
    for name in passed:
        print(f"{name}: {', '.join(sorted(counted[name]))}")
    return int(bool(passed))


if __name__ == "__main__":
    raise SystemExit(main())
