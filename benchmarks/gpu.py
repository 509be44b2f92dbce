"""All that can be checked on a GPU, in one script of at most six minutes.

    python benchmarks/gpu.py --json                 # writes results/speed/gpu-<name>.json
    python benchmarks/gpu.py --only steps --limit 60

The parts are parity with the CPU in float64 (``steps``, ``epochs``), the way of each model from
training to lists (``training``), the speed beside the CPU (``speed``), and two processes
(``processes``). Without a GPU the CPU takes its place, so that the script itself is tried; what
needs a GPU is then named as skipped. The exit status is 1 if a check failed.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path

import gpu_parity
import gpu_speed
import gpu_training
from gpu_checks import FAILED, NO_CUDA, PASSED, SKIPPED, Job, Place, Row, found_here, run
from tabulate import tabulate
from timing import write

RESULTS = Path(__file__).resolve().parent.parent / "results" / "speed"
PARTS = ("steps", "training", "processes", "speed", "epochs")
LIMIT = 360.0


def jobs() -> list[Job]:
    """All jobs, part by part, the most telling first."""
    every = [*gpu_parity.jobs(), *gpu_training.jobs(), *gpu_speed.jobs()]
    return sorted(every, key=lambda job: PARTS.index(job.part))


def main(arguments: list[str] | None = None) -> int:
    """Run the checks, print the table and write the figures; returns the exit status."""
    given = parser().parse_args(arguments)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        here = Place((), Path(folder))
        (look,) = run(Job("", "", found_here), here, 60)
        place = Place(tuple(look.figures.get("gpus", ())), here.folder, given.quick)
        print(f"on {look.measured}" + ("" if place.gpus else "; the CPU takes its place"))
        rows: list[Row] = []
        chosen = [job for job in jobs() if not given.only or job.part in given.only]
        for job in chosen:
            left = given.limit - (time.perf_counter() - begun)
            if left <= 0:
                reason = f"the {given.limit:.0f} s were over"
                rows.append(tell(Row(job.part, job.name, SKIPPED, reason, 0.0)))
            else:
                rows += map(tell, run(job, place, left + given.grace))
    print("\n" + table(rows) + "\n")
    for part in dict.fromkeys(row.part for row in rows):
        print(f"{part}: {sum(row.seconds for row in rows if row.part == part):.1f} s")
    if given.json:
        save(given.json, place, rows)
    failed = [row for row in rows if row.result == FAILED]
    for row in failed:
        print(f"\n{row.part}, {row.name}:\n{row.trace or row.measured}")
    print(f"\n{', '.join(f'{count(rows, r)} {r}' for r in (PASSED, FAILED, SKIPPED))}")
    return int(bool(failed) or look.result == FAILED)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("--only", action="append", choices=PARTS, help="a part; may be repeated")
    made.add_argument("--limit", type=float, default=LIMIT, metavar="SECONDS",
                      help="no job begins after it (default: %(default).0f)")  # fmt: skip
    made.add_argument("--grace", type=float, default=20.0, metavar="SECONDS",
                      help="how long a job may run on after the limit")  # fmt: skip
    made.add_argument("--quick", action="store_true", help="small sizes")
    made.add_argument("--json", nargs="?", type=Path, const=RESULTS, metavar="FOLDER",
                      help="write gpu-<name of the device>.json")  # fmt: skip
    return made


def tell(row: Row) -> Row:
    """Print a row as soon as it is known."""
    if row.result == SKIPPED:
        print(f"skipped: {row.part}, {row.name} ({row.measured})", flush=True)
    else:
        said = f"{row.part}, {row.name}: {row.result}, {row.measured}"
        print(f"{said} ({row.seconds:.1f} s)", flush=True)
    return row


def table(rows: list[Row]) -> str:
    """Name, result, what was measured and seconds of each check."""
    cells = [[f"{r.part}, {r.name}", r.result, r.measured, f"{r.seconds:.1f}"] for r in rows]
    columns = ["name", "result", "measured", "seconds"]
    return tabulate(cells, columns, tablefmt="github", disable_numparse=True)


def count(rows: list[Row], result: str) -> int:
    """How many rows have a result."""
    return sum(row.result == result for row in rows)


def save(folder: Path, place: Place, rows: list[Row]) -> None:
    """Write the figures and all rows, if a GPU has run."""
    if not place.gpus:
        print(f"skipped: the file of figures ({NO_CUDA})")
        return
    name = re.sub(r"\W+", "-", place.gpus[0]).strip("-")
    ratios = {row.name: row.figures["ratio"] for row in rows if "ratio" in row.figures}
    keys = ("part", "name", "result", "measured", "seconds", "figures")
    raw = [{key: getattr(row, key) for key in keys} for row in rows]
    write(folder / f"gpu-{name}.json", ratios, {"gpus": place.gpus, "checks": raw})


if __name__ == "__main__":
    raise SystemExit(main())
