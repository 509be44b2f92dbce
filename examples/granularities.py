"""The nine granularities of λ on ml-100k, learnt from a holdout or from the validation set.

``python examples/granularities.py results/ml-100k-granularities.jsonl`` takes about half an hour on
one core. Each run is a line of the file; a run that stands there already is not repeated, so that
an interrupted call goes on where it was. The table is printed from the file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from demo import METRICS, SEEDS, row, run
from tabulate import tabulate

from recbole_ext.lambda_network import GRANULARITIES

SETTINGS: list[dict[str, Any]] = [
    *({"lambda_granularity": name, "lambda_source": "holdout"} for name in GRANULARITIES),
    *({"lambda_granularity": name, "lambda_source": "valid"} for name in ("user", "user+item")),
    {"lambda_granularity": "dimension+user+item", "lambda_source": "valid"},
]


def measure(file: Path) -> list[dict[str, Any]]:
    """Run what the file lacks, add it, and return all of it."""
    lines = file.read_text().splitlines() if file.exists() else []
    done = [json.loads(line) for line in lines]
    for seed in SEEDS:
        for settings in SETTINGS:
            key = {"seed": seed, **settings}
            if any(key == {k: result[k] for k in key} for result in done):
                continue
            result = run("LambdaOptMF", seed, **settings)
            kept = ("best_valid_result", "test_result", "seconds", "total")
            done.append({**key, **{name: result[name] for name in kept}})
            with file.open("a") as out:
                out.write(json.dumps(done[-1]) + "\n")
    return done


def main(arguments: list[str]) -> None:
    """Measure, then print the table."""
    if len(arguments) != 1:
        raise SystemExit("usage: python examples/granularities.py FILE.jsonl")
    sys.argv = sys.argv[:1]  # RecBole reads the command line
    torch.set_num_threads(1)
    done = measure(Path(arguments[0]))
    table = []
    for settings in SETTINGS:
        runs = [result for result in done if settings.items() <= result.items()]
        seconds = sum(result["total"] for result in runs) / len(runs)
        name = "{lambda_granularity} ({lambda_source})".format(**settings)
        table.append(row(name, runs, seconds))
    names = [f"{part} {metric}" for part in ("valid", "test") for metric in METRICS]
    print(tabulate(table, ["", *names, "seconds"], disable_numparse=True, tablefmt="github"))


if __name__ == "__main__":
    main(sys.argv[1:])
