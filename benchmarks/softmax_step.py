"""Time and memory of a training step under the softmax, with λ given and with λ learnt.

    python benchmarks/softmax_step.py --json softmax.json

One set of random data is of ml-1m's size (6,040 users, 3,706 items, a million ratings). The others
have 20,000 users, 2,000,000 ratings and catalogues of 100,000 and 1,000,000 items, too large for a
softmax over all of them; 2,000 items are drawn for each batch, and the drawing is part of the time.
d is 64, a batch has 256 users, and there is one thread. A λ step takes a batch of its own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bilevel_step import ITEMS, RATINGS, USERS, Data, load, stepper, table
from synthetic import write_ratings
from timing import Seconds, apart, arguments, forget_peak, interleaved, ratio, write

LEARNT = {"embedding_size": 64, "train_batch_size": 256, "lambda_source": "valid"}
GIVEN = {**LEARNT, "regularizer": "fixed", "reg_weight": 5.0}
DRAWN = {"softmax_items": 2000}
FULL = {"λ given": GIVEN, "λ learnt": LEARNT}
SAMPLED = {f"{name}, drawn items": {**case, **DRAWN} for name, case in FULL.items()}
SMALL = USERS, ITEMS, RATINGS
LARGE = {items: (20_000, items, 2_000_000) for items in (100_000, 1_000_000)}
TURNS, CALLS = 7, 4


def by_turns(folder: str, cases: dict[str, Any], data: Data, turns: int) -> Seconds:
    """Seconds of a step of each case, with the cases taking turns."""
    steps = {name: stepper(folder, case, data) for name, case in cases.items()}
    forget_peak()
    return interleaved(steps, turns, CALLS)


def measure(root: str, sizes: tuple[int, int, int], cases: dict[str, Any], turns: int) -> Any:
    """Seconds of a step and memory of each case at one size: users, items and ratings."""
    users, items, ratings = sizes
    folder = f"{root}/{items}"
    write_ratings(Path(folder, "random"), users, items, ratings)
    data = load(folder)
    seconds, _ = apart(1, by_turns, folder, cases, data, turns)
    found: dict[str, Any] = {}
    for name, case in cases.items():
        _, peak = apart(1, by_turns, folder, {name: case}, data, 1)
        found[name] = {"1 threads": {"seconds": seconds[name], "MB": peak}}
    print(f"\n{users:,} users, {items:,} items, {ratings:,} ratings")
    print(table(found), flush=True)
    return found


def main() -> None:
    """Measure, print a table for each size and write the ratios."""
    given = arguments(__doc__)
    turns = given.repetitions or (2 if given.quick else TURNS)
    with tempfile.TemporaryDirectory() as root:
        raw = {"1x": measure(root, SMALL, {**FULL, **SAMPLED}, turns)}
        for items, sizes in LARGE.items():
            raw[str(items)] = measure(root, sizes, SAMPLED, turns)
    ratios = ratios_of(raw)
    print("\n" + "\n".join(f"{name}: {value:.2f}" for name, value in ratios.items()))
    write(given.json, ratios, raw)


def ratios_of(raw: dict[str, Any]) -> dict[str, float]:
    """The ratios that the documentation claims."""

    def seconds(size: str, name: str) -> list[float]:
        return raw[size][name]["1 threads"]["seconds"]

    (given, learnt), drawn = FULL, list(SAMPLED)
    few, many = map(str, LARGE)
    return {
        "learnt_over_given": ratio(seconds("1x", learnt), seconds("1x", given)),
        "drawn_learnt_over_given": ratio(*(seconds("1x", name) for name in reversed(drawn))),
        "drawn_given_10x_items": median(seconds(many, drawn[0])) / median(seconds(few, drawn[0])),
        "drawn_learnt_10x_items": median(seconds(many, drawn[1])) / median(seconds(few, drawn[1])),
    }


if __name__ == "__main__":
    main()
