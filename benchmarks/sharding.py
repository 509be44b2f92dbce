"""Memory and traffic of a LambdaOptMF whose tables are spread over two processes.

    python benchmarks/sharding.py --json results/speed/sharding.json

The ratings are random: 1,500,000 of 1,000,000 users and 500,000 items, so that the tables need more
memory than the ratings do. d is 64. ``bpr`` has sparse Adam and a λ for each user and item, learnt
one step ahead; ``softmax`` draws 2,000 items a batch and learns its four numbers of λ through the
training. Each measurement is made in fresh processes, of one thread each, which read the ratings
themselves. The ratios are of one of two processes to a single one:

- ``peak`` of the largest resident memory, from the start on, with the program and the ratings;
- ``peak beyond the ratings`` of what it is above the memory once the ratings were read;
- ``tables`` of the bytes of all tables: embeddings, biases, λ, moments and tangents.

``sent`` is the bytes that a process hands over in a step, at a catalogue and at one four times as
large.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.multiprocessing as mp
from bilevel_step import CASES, load, prepared
from recbole.utils import init_seed
from synthetic import write_ratings
from tabulate import tabulate
from timing import arguments, forget_peak, write

from recbole_ext.processes.group import group
from recbole_ext.processes.joining import Place, joined

KINDS: dict[str, dict[str, Any]] = {
    "bpr": {**CASES["analytic, sparse Adam"], "lambda_granularity": "user+item"},
    "softmax": {
        "loss": "softmax",
        "softmax_items": 2000,
        "train_batch_size": 256,
        "lambda_source": "valid",
        "lambda_warmup_steps": 0,
    },
}
LARGE = {"users": 1_000_000, "items": 500_000, "ratings": 1_500_000}
QUICK = {"users": 50_000, "items": 25_000, "ratings": 75_000}
CATALOGUES = {
    "a catalogue": {"users": 50_000, "items": 25_000, "ratings": 200_000},
    "four times as large": {"users": 200_000, "items": 100_000, "ratings": 800_000},
}
STEPS = 12


def measured(kind: str, size: dict[str, int], processes: int) -> list[dict[str, Any]]:
    """What each of some fresh processes measures."""
    with tempfile.TemporaryDirectory() as folder:
        write_ratings(Path(folder, "random"), size["users"], size["items"], size["ratings"])
        port = 20_000 + int(time.time()) % 20_000
        mp.spawn(_one, (folder, kind, processes, port), nprocs=processes)
        files = [Path(folder, f"{rank}.json") for rank in range(processes)]
        return [json.loads(file.read_text()) for file in files]


def _one(rank: int, folder: str, kind: str, processes: int, port: int) -> None:
    torch.set_num_threads(1)
    if processes == 1:
        found = _steps(folder, KINDS[kind])
    else:
        with joined(Place(processes, processes, "localhost", port), rank):
            found = _steps(folder, {**KINDS[kind], "embedding_sharding": "row"})
    Path(folder, f"{rank}.json").write_text(json.dumps(found))


def _steps(folder: str, case: dict[str, Any]) -> dict[str, Any]:
    started = _memory("VmRSS")
    init_seed(2020, True)  # all processes split the ratings alike
    data = load(folder, {"embedding_size": 64})
    of_data = _memory("VmRSS"), _memory("VmHWM")
    forget_peak()
    trainer, step = prepared(folder, case, data, {"embedding_size": 64})
    sent, seconds = group().sent, []
    for _ in range(STEPS):
        begun = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begun)
    peak = _memory("VmHWM")
    return {
        "MB before the ratings": started,
        "MB with the ratings": of_data[0],
        "peak MB while reading them": of_data[1],
        "peak MB of training": peak,
        "peak MB": max(peak, of_data[1]),
        "tables MB": _bytes(trainer) / 1e6,
        "sent a step": (group().sent - sent) / STEPS,
        "ms a step": 1000 * median(seconds),
    }


def _memory(name: str) -> float:
    """A line of Linux's account of this process, in MB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, "memory is read from Linux's /proc"
    return int(found[1]) / 1000


def _bytes(trainer: Any) -> int:
    """The bytes of all tensors that training changes in this process."""
    modules = [trainer.model, trainer.lambda_network, trainer.forward_gradient]
    held = [t for m in modules if m is not None for t in (*m.parameters(), *m.buffers())]
    for optimizer in (trainer.optimizer, trainer.lambda_optimizer):
        for state in optimizer.state.values():
            held += [value for value in state.values() if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in held)


def compare(alone: dict[str, float], spread: list[dict[str, float]]) -> dict[str, float]:
    """The ratios of the larger of several processes to a single one."""

    def beyond(found: dict[str, float]) -> float:
        return found["peak MB of training"] - found["MB with the ratings"]

    return {
        "peak": max(found["peak MB"] for found in spread) / alone["peak MB"],
        "peak beyond the ratings": max(map(beyond, spread)) / beyond(alone),
        "tables": max(found["tables MB"] for found in spread) / alone["tables MB"],
    }


def main() -> None:
    """Measure, print a table and write the ratios."""
    given = arguments(__doc__)
    size = QUICK if given.quick else LARGE
    raw: dict[str, Any] = {"size": size}
    ratios: dict[str, float] = {}
    rows = []
    for kind in KINDS:
        alone, spread = (measured(kind, size, n) for n in (1, 2))
        raw[kind] = {"one process": alone[0], "two processes": spread}
        compared = compare(alone[0], spread)
        ratios |= {f"{kind}: {name}": value for name, value in compared.items()}
        rows += [[kind, "one", *alone[0].values()]]
        rows += [[kind, f"of two, {at}", *found.values()] for at, found in enumerate(spread)]
        for name, catalogue in CATALOGUES.items():
            found = measured(kind, catalogue, 2)
            raw[kind][name] = {"size": catalogue, "sent a step": found[0]["sent a step"]}
        small, large = (raw[kind][name]["sent a step"] for name in CATALOGUES)
        ratios[f"{kind}: sent, four times the catalogue"] = large / small
        print(kind, raw[kind], flush=True)
    print(tabulate(rows, ["", "process", *alone[0]], tablefmt="github", floatfmt=",.0f"))
    for name, value in ratios.items():
        print(f"{name}: {value:.3f}")
    write(given.json, ratios, raw)


if __name__ == "__main__":
    main()
