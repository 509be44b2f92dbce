"""How the time of a LambdaOptMF step grows with users, items, ratings, embedding and batch size.

    python benchmarks/scale.py --json scale.json --picture scale.png
    python benchmarks/scale.py --million

One size grows at a time, from a common start. Its exponent is the slope of a straight line through
the logarithms of size and time; 1 means that twice the size takes twice as long. λ varies by user,
item and dimension. ``--million`` measures a single case on random ratings: 1,000,000 users, 500,000
items, d 64 and sparse Adam.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from bilevel_step import CASES, load, stepper
from synthetic import write_ratings
from tabulate import tabulate
from timing import apart, arguments, interleaved, write

START = {"users": 20_000, "items": 10_000, "ratings": 400_000, "embedding_size": 64, "batch": 1024}
GROWS = {
    "users": (20_000, 80_000, 320_000),
    "items": (10_000, 40_000, 160_000),
    "ratings": (400_000, 800_000, 1_600_000),
    "embedding_size": (32, 64, 128, 256),
    "batch": (256, 1024, 4096),
}
KINDS = ("analytic", "analytic, sparse Adam")
MILLION = {"users": 1_000_000, "items": 500_000, "ratings": 4_000_000, "embedding_size": 64}
CALLS = 15


def steps(size: dict[str, int], kind: str) -> list[float]:
    """Seconds of several steps at one size."""
    with tempfile.TemporaryDirectory() as folder:
        write_ratings(Path(folder, "random"), size["users"], size["items"], size["ratings"])
        given = {"embedding_size": size["embedding_size"], "train_batch_size": size["batch"]}
        step = stepper(folder, CASES[kind], load(folder, given), given)
        return interleaved({kind: step}, CALLS, 2)[kind]


def main() -> None:
    """Measure, print the exponents, draw and write."""
    given = arguments(
        __doc__,
        picture={"type": Path, "metavar": "FILE"},
        million={"action": "store_true"},
    )
    if given.million:
        seconds, peak = apart(1, steps, {**START, **MILLION}, KINDS[1])
        print(f"{MILLION}: {1000 * median(seconds):.1f} ms a step, {peak / 1000:.1f} GB at most")
        write(given.json, {"million_ms": 1000 * median(seconds), "million_gb": peak / 1000}, {})
        return
    raw: dict[str, dict[str, list]] = {kind: {} for kind in KINDS}
    rows, ratios = [], {}
    for kind, (grows, values) in itertools.product(KINDS, GROWS.items()):
        some = values[:: len(values) - 1] if given.quick else values
        times = [median(apart(1, steps, {**START, grows: n}, kind)[0]) for n in some]
        raw[kind][grows] = [list(some), times]
        exponent = float(np.polyfit(np.log(some), np.log(times), 1)[0])
        ratios[f"{kind}: {grows}"] = exponent
        rows.append([kind, grows, some, [f"{1000 * t:.1f}" for t in times], f"{exponent:.2f}"])
        print(rows[-1], flush=True)
    columns = ["", "grows", "values", "ms a step", "exponent"]
    print("\n" + tabulate(rows, columns, tablefmt="github"))
    if given.picture is not None:
        draw(raw, given.picture)
    write(given.json, ratios, raw)


def draw(raw: dict[str, dict[str, list]], path: Path) -> None:
    """Draw the time against the size, both on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(KINDS), figsize=(10, 4), sharey=True)
    for axis, (kind, lines) in zip(axes, raw.items(), strict=True):
        for grows, (values, times) in lines.items():
            relative = [value / values[0] for value in values]
            axis.loglog(relative, [1000 * t for t in times], "o-", label=grows)
        axis.set(title=kind, xlabel="times the smallest")
    axes[0].set_ylabel("ms a step")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
